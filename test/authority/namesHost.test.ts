import { describe, expect, it } from "@effect/vitest"
import { Either } from "effect"
import * as Pattern from "../../src/authority/Pattern.js"
import { Canonical, Delegated, Lease } from "../../src/authority/index.js"

const compile = (patterns: ReadonlyArray<string>) => Either.getOrThrow(Lease.compile({ "net.fetch": patterns }))
const names = (lease: Lease.Lease, url: string) => Lease.namesHost(lease, Either.getOrThrow(Canonical.url(url)))

describe("Lease.namesHost", () => {
  it("§9.2 a host without a wildcard is named, whatever the scheme, the port and the path", () => {
    for (const [pattern, url] of [
      ["http://localhost/**", "http://localhost/a"],
      ["http://localhost:*/**", "http://localhost:3000/a"],
      ["*://LOCALHOST./a", "https://localhost/a"],
      ["http*://intranet.corp/**?**", "http://intranet.corp/a?b=c"],
      ["http://127.0.0.1:8080/exact", "http://127.0.0.1:8080/exact"],
      ["http://0x7f.1/**", "http://127.0.0.1/a"],
      ["http://2130706433/**", "http://127.0.0.1/a"],
      ["http://[::1]:*/**", "http://[::1]:3000/a"],
      ["http://[0:0:0:0:0:ffff:7f00:1]/**", "http://[::ffff:127.0.0.1]/a"]
    ] as const) {
      expect(names(compile([pattern]), url), pattern).toBe(true)
    }
  })

  it("§9.2 a host with a wildcard is not named, however little it leaves open", () => {
    for (const [pattern, url] of [
      ["**", "http://localhost/a"],
      ["http://**", "http://localhost/a"],
      ["http://*/**", "http://localhost/a"],
      ["http://localhos*/**", "http://localhost/a"],
      ["http://*localhost/**", "http://localhost/a"],
      ["http://localhost*/**", "http://localhost/a"],
      ["http://127.0.0.*/**", "http://127.0.0.1/a"],
      ["http://*.corp:8080/**", "http://intranet.corp:8080/a"]
    ] as const) {
      const lease = compile([pattern])
      const target = Either.getOrThrow(Canonical.url(url))
      expect(Lease.authorize(lease, "net.fetch", target)._tag, pattern).toBe("Allowed")
      expect(Lease.namesHost(lease, target), pattern).toBe(false)
    }
  })

  it("§9.2 the pattern that names the host must cover the URL, beside whatever else does", () => {
    const lease = compile(["http://**", "http://localhost:3000/api/**"])
    expect(names(lease, "http://localhost:3000/api/a")).toBe(true)
    for (const url of ["http://localhost:3000/", "http://localhost/api/a", "http://127.0.0.1:3000/api/a"]) {
      expect(names(lease, url), url).toBe(false)
    }
    expect(names(compile([]), "http://localhost/")).toBe(false)
    expect(names(Lease.emptyLease, "http://localhost/")).toBe(false)
  })

  it("§9.4 a delegated lease names no host that its parent covers by a wildcard only", () => {
    const wide = compile(["http://**"])
    const child = compile(["http://localhost/**"])
    expect(Either.isRight(Delegated.isSubset(child, wide))).toBe(true)
    const heir = Delegated.inherit(child, wide)
    expect(names(heir, "http://localhost/")).toBe(false)
    // Nor does a grandchild, nor what is left after a handover.
    expect(names(Delegated.inherit(child, heir), "http://localhost/")).toBe(false)
    expect(names(Delegated.withRemaining(heir, new Map()), "http://localhost/")).toBe(false)
    const named = compile(["http://**", "http://localhost/**"])
    expect(names(Delegated.inherit(child, named), "http://localhost/")).toBe(true)
    expect(Lease.toWire(heir)).toEqual({ lease: { "net.fetch": ["http://localhost/**"] } })
  })

  it("§9 a requested lease names no host that the policy covers by a wildcard only", () => {
    const requested = compile(["http://localhost/**", "http://*.example/**"])
    expect(names(Delegated.narrow(requested, compile(["http://**"])), "http://localhost/")).toBe(false)
    expect(names(Delegated.narrow(requested, compile(["http://**", "http://localhost/**"])), "http://localhost/")).toBe(
      true
    )
  })

  it("§9.2 tells the host of every canonical pattern apart from its port and path", () => {
    for (const [pattern, named] of [
      ["http://h", true],
      ["http://h:*", true],
      ["http://h/*", true],
      ["http://h?*", true],
      ["http://[::1]/*", true],
      ["http://h*", false],
      ["http://*", false],
      ["https://**", false],
      ["", false]
    ] as const) {
      expect(Pattern.namesHost(Either.getOrThrow(Pattern.url(pattern))), pattern).toBe(named)
    }
  })
})
