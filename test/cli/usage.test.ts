/** Wrong use of `arcp`: each option with each kind of wrong value exits with 2 and repeats what was given. */
import { describe, expect, it } from "@effect/vitest"
import { Console, Effect } from "effect"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { coloured } from "../../src/cli/parserConsole.js"
import { main } from "../../src/cli/program.js"
import { arcp } from "./processes.js"
import { scratch } from "../support/scratch.js"

const folder = scratch("arcp-cli-usage-")
const file = (name: string, text: string) => {
  writeFileSync(join(folder, name), text, { mode: 0o600 })
  return join(folder, name)
}
const noJson = file("no.json", "{")
const twoTokens = file("two", "a\nb\n")
const badTokens = file("bad", "no-principal\n")
const list = file("list.json", "[]")

/** Runs the program in this process, up to where it would listen or connect. */
const run = (...args: ReadonlyArray<string>) =>
  Effect.suspend(() => {
    let out = ""
    let err = ""
    return Effect.consoleWith((console) =>
      Effect.map(
        Effect.withConsole(main(["node", "arcp", ...args]), {
          ...console,
          log: (...texts: ReadonlyArray<unknown>) => Effect.sync(() => void (out += `${texts.join(" ")}\n`)),
          error: (...texts: ReadonlyArray<unknown>) => Effect.sync(() => void (err += `${texts.join(" ")}\n`))
        } as Console.Console),
        (code) => ({ code, out, err })
      )
    )
  })

const host = ["serve", "--demo", "--anonymous", "--port", "0"]
const serve = ["serve", "--demo", "--anonymous"]
const rekey = ["store", "rekey", "--store", join(folder, "x.db")]

const wrong: ReadonlyArray<readonly [args: ReadonlyArray<string>, ...texts: ReadonlyArray<string>]> = [
  [["nonsense"], "serve", "submit", "version"],
  [["serve"], "--token-file"],
  ...(["x", "-1", "65536", "1.5", "1e3", "0x10", "99999999999999999999", " 1"] as const).map(
    (port) => [[...serve, "--port", port], "--port", "0 to 65535", JSON.stringify(port)] as const
  ),
  [[...serve, "--port"], "--port needs a value"],
  [[...serve, "--port", ""], "--port must not be an empty text"],
  [[...serve, "--port="], "--port must not be an empty text"],
  [[...serve, "--port", "1", "--port", "2"], "--port is given 2 times"],
  ...(["x", "-1", "0.5", "1e999", "NaN", "86401"] as const).map(
    (drain) => [[...host, "--drain", drain], "--drain", "0 to 86400", JSON.stringify(drain)] as const
  ),
  ...(["arcp", "/a b", "/a?b", "/a#b", "//a"] as const).map(
    (path) => [[...host, "--path", path], "--path", JSON.stringify(path)] as const
  ),
  ...(["no.such.host.invalid", "192.0.2.1"] as const).map(
    (address) => [[...host, "--host", address, "--allowed-host", "*"], "--host must be an address", address] as const
  ),
  ...(["0.0.0.0", "::", "192.0.2.1", "no.such.host.invalid", "127.0.0.1.example", "::ffff:10.0.0.1"] as const).map(
    (address) =>
      [
        [...host, "--host", address],
        `--host ${JSON.stringify(address)}`,
        "--allowed-host agents.example",
        "--allowed-host '*'"
      ] as const
  ),
  ...(["https://agents.example", "agents.example/arcp", "::1", "a b", "agents.example:port"] as const).map(
    (name) => [[...host, "--allowed-host", name], "--allowed-host must be a host", JSON.stringify(name)] as const
  ),
  [[...host, "--allowed-host", ""], "--allowed-host must not be an empty text"],
  [[...host, "--store", "/no/such/folder/x.db"], "--store", "/no/such/folder/x.db"],
  [[...host, "--store", folder], "--store", folder],
  [[...host, "--store-key-env", "ARCP_TEST_NO_KEY"], "--store-key-env", "--store FILE"],
  [[...host, "--store", join(folder, "x.db"), "--store-key-env", "ARCP_TEST_NO_KEY"], "ARCP_TEST_NO_KEY"],
  [[...host, "--allow", "fs.read"], "--allow", '"fs.read"'],
  [[...host, "--allow", ""], "--allow must not be an empty text"],
  [[...host, "--allow", "fs.read=data"], "--allow", '"data"'],
  [[...host, "--allow", "nonsense=x"], "--allow", "nonsense"],
  [[...host, "--allow-file", "/no/such/file"], "--allow-file", "/no/such/file"],
  [[...host, "--allow-file", noJson], "--allow-file", noJson],
  [[...host, "--allow-file", list], "--allow-file", list],
  [[...host, "--allow-any", "--allow", "tool.call=**"], "--allow", "--allow-any"],
  [["serve", "--demo", "--token", "no-principal"], "--token", "TOKEN=PRINCIPAL"],
  [["serve", "--bearer", "t"], "--bearer: ", "--principal alice@example.com"],
  [["serve", "--principal", "alice@example.com"], "--principal: ", "--bearer secret-token"],
  [["serve", "--bearer", "", "--principal", "alice"], "--bearer must not be an empty text"],
  [["serve", "--bearer", "t", "--principal", ""], "--principal must not be an empty text"],
  [["serve", "--bearer", "t", "--principal", " "], "--bearer with --principal"],
  [["serve", "--bearer", "a token", "--principal", "alice"], "--bearer with --principal", "white space"],
  [["serve", "--bearer", "t", "--principal", "anonymous:1"], "--bearer with --principal", '"anonymous:"'],
  [["serve", "--bearer", "t", "--principal", "alice", "--token", "t=bob"], "already given"],
  [["serve"], "--bearer TOKEN --principal WHO", "--anonymous"],
  [["serve", "--demo", "--token", ""], "--token must not be an empty text"],
  [["serve", "--demo", "--token-file", "/no/such/file"], "--token-file", "/no/such/file"],
  [["serve", "--demo", "--token-file", badTokens], "--token-file", badTokens],
  [[...host, "--log-level", "loud"], "--log-level", '"loud"', "warning"],
  [[...host, "--nonsense"], "--nonsense"],
  [[...host, "--lease", "{}"], "--lease"],
  [[...host, "left over"], "left over"],
  [["submit"], "AGENT"],
  [["submit", "Bad Name"], "AGENT", '"Bad Name"'],
  [["submit", "echo@"], "AGENT", '"echo@"'],
  [["submit", "echo", "more"], "more"],
  ...(["http://x", "x", "ws://", "ws:///arcp", "ws://x:99999", "wss://[::1"] as const).map(
    (url) => [["submit", "echo", "--url", url], "--url", JSON.stringify(url)] as const
  ),
  [["submit", "echo", "--input", "{no json"], "--input", '"{no json"'],
  [["submit", "echo", "--input", "@/no/such/file"], "--input", "/no/such/file"],
  [["submit", "echo", "--input", `@${noJson}`], "--input", noJson],
  [["submit", "echo", "--lease", "nonsense"], "--lease", '"nonsense"'],
  ...(["[1]", "1", "null", '"x"', '{"fs.read": "/data"}', '{"fs.read": [1]}', '{"fs.read": null}'] as const).map(
    (lease) =>
      [["submit", "echo", "--lease", lease], "--lease must be a JSON object", '{"fs.read": ["/data/**"]}'] as const
  ),
  [["submit", "echo", "--lease", '{"fs.read": ["data"]}'], "--lease: fs.read", '"data"'],
  [["submit", "echo", "--lease", '{"cost.budget": ["much"]}'], "--lease: cost.budget", "USD:5.00"],
  [["submit", "echo", "--expires-at", "tomorrow"], "--expires-at", '"tomorrow"'],
  [["submit", "echo", "--expires-at", "2030-02-30T00:00:00Z"], "--expires-at", "2030-02-30"],
  [["submit", "echo", "--expires-at", "2001-01-01T00:00:00Z"], "--expires-at", "not in the future"],
  [["submit", "echo", "--key", ""], "--key must not be an empty text"],
  [["submit", "echo", "--key", " "], "--key"],
  [["submit", "echo", "--connect-timeout", "0"], "--connect-timeout", "1 to 3600", '"0"'],
  [["submit", "echo", "--token", ""], "--token must not be an empty text"],
  [["submit", "echo", "--token-file", "/no/such/file"], "--token-file", "/no/such/file"],
  [["submit", "echo", "--token-file", twoTokens], "--token-file", twoTokens],
  [["store", "nonsense"], "arcp store has no command nonsense: use rekey"],
  [["store", "rekey"], "--store and --new-key-env are required: see --help"],
  [["store", "rekey", "--store", "x.db"], "--new-key-env is required: see --help"],
  [[...rekey, "--new-key-env", "ARCP_TEST_NO_KEY"], "--new-key-env", "ARCP_TEST_NO_KEY is not set"],
  [[...rekey, "--new-key-env", "PATH", "--key-env", "ARCP_TEST_NO_KEY"], "--key-env", "ARCP_TEST_NO_KEY is not set"],
  [[...rekey, "--new-key-env", "PATH", "--key-env", "PATH"], "--key-env and --new-key-env must name two variables"],
  [["store", "rekey", "--store", ":memory:", "--new-key-env", "X"], "--store must be a file"],
  [[...rekey, "--new-key-env", ""], "--new-key-env must not be an empty text"],
  [[...rekey, "--new-key-env", "X", "--key", "secret"], "--key"],
  [["version", "--nonsense"], "--nonsense"]
]

describe("arcp, called wrongly", () => {
  for (const [args, ...texts] of wrong) {
    it.live(`exits with 2 and says why: arcp ${args.map((arg) => arg.replaceAll(folder, "")).join(" ")}`, () =>
      Effect.gen(function* () {
        const { code, err, out } = yield* run(...args)
        expect([code, out]).toEqual([2, ""])
        for (const text of texts) expect(err).toContain(text)
        const last = err.trimEnd().split("\n").at(-1)
        expect(last).toMatch(/^arcp: \S/)
        expect(err).not.toMatch(/[\u0000-\u0009\u000b-\u001f]/)
      })
    )
  }

  it.live("what was given is repeated without its control characters, its password and most of its length", () =>
    Effect.gen(function* () {
      const colours = yield* run("submit", "echo", "--url", "\u001b[2Jx")
      expect(colours.err).toContain("\\u001b[2Jx")
      const option = yield* run("serve", "--\u001b[2J")
      expect([option.code, option.err.includes("\u001b")]).toEqual([2, false])
      const secret = yield* run("submit", "echo", "--url", "ws://me:s3cret@x:99999/")
      expect([secret.code, secret.err.includes("s3cret")]).toEqual([2, false])
      expect((yield* run("submit", "echo", "--input", "{".repeat(100_000))).err.length).toBeLessThan(400)
    })
  )

  it.live("a port in use is no wrong use: 1, and what to do", () =>
    Effect.gen(function* () {
      const { createServer } = yield* Effect.promise(() => import("node:net"))
      const server = createServer()
      const port = yield* Effect.async<number>((resume) => {
        server.listen(0, "127.0.0.1", () => resume(Effect.succeed((server.address() as { port: number }).port)))
      })
      const { code, err } = yield* run("serve", "--demo", "--anonymous", "--port", String(port))
      server.close()
      expect(code).toBe(1)
      expect(err).toContain("the port is in use")
    })
  )
})

describe("arcp, its help", () => {
  it.live("lists the exit codes", () =>
    Effect.gen(function* () {
      for (const args of [["--help"], ["serve", "--help"], ["submit", "--help"]]) {
        const { code, out } = yield* run(...args)
        expect(code).toBe(0)
        for (const exit of ["0", "1", "2", "3", "130", "143"]) expect(out).toMatch(new RegExp(`^\\s*${exit}: \\S`, "m"))
      }
    })
  )

  it.live("help and errors have no colours in a pipe", () =>
    Effect.gen(function* () {
      for (const args of [["--help"], ["serve", "--nonsense"], ["nonsense"], ["--version"]]) {
        const { err, out } = yield* arcp(args)
        expect(`${out}${err}`).not.toContain("\u001b")
        expect(`${out}${err}`).not.toBe("")
      }
    })
  )

  it("help on a terminal has colours, but not under NO_COLOR and not on a dumb one", () => {
    const terminal = { isTTY: true }
    expect(coloured(terminal, {})).toBe(true)
    // https://no-color.org: an empty variable is none.
    expect(coloured(terminal, { NO_COLOR: "" })).toBe(true)
    expect(coloured(terminal, { NO_COLOR: "1" })).toBe(false)
    expect(coloured(terminal, { TERM: "dumb" })).toBe(false)
    expect(coloured({}, {})).toBe(false)
  })
})
