/** Which address counts for a peer behind proxies. */
import type { IncomingMessage } from "node:http"
import { describe, expect, it } from "@effect/vitest"
import { make } from "../../src/transport/internal/forwarded.js"
import type { ProxyOptions } from "../../src/transport/WebSocketServerOptions.js"

const request = (headers: object) => ({ headers }) as IncomingMessage
const xff = (value: string) => ({ "x-forwarded-for": value })

describe("trustedProxies", () => {
  for (const [title, options, connected, headers, expected] of [
    ["without them the header is ignored", {}, "10.0.0.1", xff("203.0.113.9"), "10.0.0.1"],
    [
      "an untrusted peer's header is ignored",
      { trustedProxies: ["10.0.0.2"] },
      "10.0.0.1",
      xff("203.0.113.9"),
      "10.0.0.1"
    ],
    ["a trusted proxy's is taken", { trustedProxies: ["10.0.0.1"] }, "10.0.0.1", xff("203.0.113.9"), "203.0.113.9"],
    [
      "the proxy's address in its mapped form is the same",
      { trustedProxies: ["10.0.0.1"] },
      "::ffff:10.0.0.1",
      xff("203.0.113.9"),
      "203.0.113.9"
    ],
    ["a network of proxies", { trustedProxies: ["10.0.0.0/8"] }, "10.9.9.9", xff("203.0.113.9"), "203.0.113.9"],
    ["an IPv6 network of proxies", { trustedProxies: ["fd00::/8"] }, "fd12::1", xff("2001:db8::7"), "2001:db8::7"],
    [
      "what the client wrote itself does not count",
      { trustedProxies: ["10.0.0.1"] },
      "10.0.0.1",
      xff("127.0.0.1, 198.51.100.1, 203.0.113.9"),
      "203.0.113.9"
    ],
    [
      "several trusted proxies are passed over",
      { trustedProxies: ["10.0.0.0/8"] },
      "10.0.0.1",
      xff("1.1.1.1, 203.0.113.9, 10.0.0.3,10.0.0.2"),
      "203.0.113.9"
    ],
    [
      "only trusted proxies: the first of them",
      { trustedProxies: ["10.0.0.0/8"] },
      "10.0.0.1",
      xff("10.0.0.3, 10.0.0.2"),
      "10.0.0.3"
    ],
    [
      "a hop that is no address ends the reading",
      { trustedProxies: ["10.0.0.0/8"] },
      "10.0.0.1",
      xff("203.0.113.9, what, 10.0.0.2"),
      "10.0.0.2"
    ],
    ["no header", { trustedProxies: ["10.0.0.1"] }, "10.0.0.1", {}, "10.0.0.1"],
    ["ports and brackets", { trustedProxies: ["10.0.0.1"] }, "10.0.0.1", xff("[2001:db8::7]:4711"), "2001:db8::7"],
    [
      "an IPv4 address with its port",
      { trustedProxies: ["10.0.0.1"] },
      "10.0.0.1",
      xff("203.0.113.9:4711"),
      "203.0.113.9"
    ],
    [
      "the other header is not looked at",
      { trustedProxies: ["10.0.0.1"] },
      "10.0.0.1",
      { forwarded: "for=203.0.113.9" },
      "10.0.0.1"
    ],
    [
      "Forwarded, where it is asked for",
      { trustedProxies: ["10.0.0.1"], forwardedHeader: "forwarded" },
      "10.0.0.1",
      { forwarded: 'for=1.1.1.1;by="a,b", For="[2001:db8::7]:1";proto=https', "x-forwarded-for": "9.9.9.9" },
      "2001:db8::7"
    ],
    [
      "an obfuscated Forwarded ends the reading",
      { trustedProxies: ["10.0.0.1"], forwardedHeader: "forwarded" },
      "10.0.0.1",
      { forwarded: "for=203.0.113.9, for=_hidden" },
      "10.0.0.1"
    ],
    ["a Unix socket is no proxy", { trustedProxies: ["10.0.0.1"] }, undefined, xff("203.0.113.9"), undefined],
    ["a Unix socket, where it is trusted", { trustedProxies: ["unix"] }, undefined, xff("203.0.113.9"), "203.0.113.9"]
  ] as ReadonlyArray<readonly [string, ProxyOptions, string | undefined, object, string | undefined]>) {
    it(`${title}`, () => expect(make(options)(request(headers), connected)).toBe(expected))
  }

  it("what is no address is refused when the server is made", () => {
    for (const entry of ["", "proxy.example", "10.0.0.0/33", "10.0.0.0/8/8", "fd00::/129", "10.0.0.0/x", "*"]) {
      expect(() => make({ trustedProxies: [entry] })).toThrow(
        /^trustedProxies: .* is not an address, a network or "unix"$/
      )
    }
  })
})
