/** Where the program takes tokens from, and who else can see them. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { chmodSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { arcp, programs, serve, submitting } from "./processes.js"
import { scratch } from "../support/scratch.js"
import { storeKey } from "../support/storeKeys.js"

const folder = scratch("arcp-cli-tokens-")

const fileOf = (name: string, text: string, mode = 0o600) => {
  const path = join(folder, name)
  writeFileSync(path, text)
  chmodSync(path, mode)
  return path
}

const echo = (url: string, env: Readonly<Record<string, string>>, ...args: ReadonlyArray<string>) =>
  arcp(["submit", "--url", url, "--input", "1", ...args, "echo"], env)

/** The command line of a process, as every user of the machine can read it. */
const commandLine = (pid: number) => readFileSync(`/proc/${pid}/cmdline`, "utf8")

describe.runIf(process.platform === "linux")("arcp --token on Linux", () => {
  it.scopedLive(
    "§14 serve overwrites its whole command line: no argument is left of it, wherever the token stood",
    () =>
      Effect.gen(function* () {
        const long = `tail-${"x".repeat(2000)}`
        const { pid, url } = yield* serve(["--token", "s3cret-first=alice", "--demo", "--token", `${long}=bob`])
        expect(commandLine(pid).replaceAll("\0", "")).toBe("arcp serve")
        expect(readFileSync(`/proc/${pid}/comm`, "utf8")).not.toContain("s3cret")
        for (const token of ["s3cret-first", long]) expect((yield* echo(url, {}, "--token", token)).code).toBe(0)
      })
  )

  it.scopedLive("§14 submit overwrites its command line too", () =>
    Effect.gen(function* () {
      const { url } = yield* serve(["--demo", "--token", "s3cret=alice"])
      const { pid } = yield* submitting(["--url", url, "--token", "s3cret", "--input", '{"ms": 600000}', "sleep"])
      expect(commandLine(pid).replaceAll("\0", "")).toBe("arcp submit")
    })
  )
})

describe("arcp serve: tokens", () => {
  it.scopedLive("§6.1 --bearer is the token of --principal, whatever signs either holds", () =>
    Effect.gen(function* () {
      const served = yield* serve([
        ...["--bearer", "se=cret=", "--principal", "a=lice@example.com", "--token", "other=bob"],
        ...["--agents", join(programs, "spy.js")]
      ])
      const seen = yield* arcp(["submit", "--url", served.url, "--token", "se=cret=", "spy"])
      expect([seen.code, seen.out.includes("se=cret")]).toEqual([0, false])
      expect((yield* arcp(["submit", "--url", served.url, "--token", "other", "spy"])).code).toBe(0)
      expect((yield* arcp(["submit", "--url", served.url, "--token", "se", "spy"])).err).toContain("UNAUTHENTICATED")
      if (process.platform === "linux") expect(commandLine(served.pid).replaceAll("\0", "")).toBe("arcp serve")
    })
  )

  it.scopedLive(
    "§6.1 ARCP_TOKENS, --token-file and --token together decide who is who",
    () =>
      Effect.gen(function* () {
        const file = fileOf("tokens", "# who may connect\n\nfile-token=alice\r\n  cGFkZGVk==carol  \n")
        const { said, url } = yield* serve(["--demo", "--token-file", file, "--token", "line-token=bob"], {
          ARCP_TOKENS: "env-token=dave,env-other=erin\nenv-third=frank"
        })
        expect(said()).not.toContain("warning")
        for (const token of ["file-token", "cGFkZGVk=", "line-token", "env-token", "env-other", "env-third"]) {
          expect([token, (yield* echo(url, {}, "--token", token)).code]).toEqual([token, 0])
        }
        for (const token of ["# who may connect", "cGFkZGVk", "alice"]) {
          expect((yield* echo(url, {}, "--token", token)).err).toContain("UNAUTHENTICATED")
        }
      }),
    120_000
  )

  it.scopedLive(
    "§14 what was read is in the environment and the arguments no more, when an agents' module is loaded",
    () =>
      Effect.gen(function* () {
        const key = Redacted.value(storeKey())
        const served = yield* serve(
          [
            ...["--agents", join(programs, "spy.js"), "--token", "line-secret=alice"],
            ...["--store", join(folder, "store.db"), "--store-key-env", "MY_KEY"]
          ],
          { ARCP_TOKENS: "env-secret=bob", ARCP_TOKEN: "client-secret", MY_KEY: key, HARMLESS: "seen" }
        )
        const seen = (yield* arcp(["submit", "--url", served.url, "--token", "line-secret", "spy"])).out
        expect(seen).toContain('"HARMLESS":"seen"')
        for (const secret of [
          "env-secret",
          "client-secret",
          "line-secret",
          key,
          "ARCP_TOKENS",
          "ARCP_TOKEN",
          "MY_KEY"
        ]) {
          expect([secret, seen.includes(secret)]).toEqual([secret, false])
        }
      })
  )

  it.scopedLive("a file of tokens that others can read is warned of", () =>
    Effect.gen(function* () {
      for (const mode of [0o644, 0o640, 0o604]) {
        const { said } = yield* serve(["--demo", "--token-file", fileOf("open", "open-token=alice", mode)])
        expect(said()).toContain("mode 600")
        expect(said()).not.toContain("open-token")
      }
    })
  )

  it.live(
    "§14 what is wrong exits with 2 and is named without a token",
    () =>
      Effect.gen(function* () {
        const wrong = yield* Effect.forEach(
          [
            [["--token-file", fileOf("bad", "good=alice\nvery-secret\n")], {}, "line 2 of"],
            [["--token-file", fileOf("empty", "# nobody\n")], {}, "no client could connect"],
            [["--token-file", join(folder, "missing")], {}, "cannot be read"],
            [["--token-file", folder], {}, "cannot be read"],
            [[], { ARCP_TOKENS: "good=alice,very-secret" }, "ARCP_TOKENS: number 2"],
            [[], { ARCP_TOKENS: "very-secret=alice good=bob" }, "white space"],
            [["--token", "=alice"], {}, "--token: number 1"],
            [["--token", "very-secret="], {}, "--token: number 1"],
            [["--token", "very-secret=alice", "--token", "very-secret=bob"], {}, "already given to alice"],
            [["--token", "very-secret=anonymous:1"], {}, "for anonymous clients"],
            [[], { ARCP_TOKENS: "" }, "--token-file FILE or set ARCP_TOKENS"]
          ] as const,
          ([args, env, says]) =>
            Effect.map(arcp(["serve", "--demo", ...args], env), ({ code, err, out }) => {
              expect(err).toContain(says)
              expect(out + err).not.toContain("very-secret")
              return code
            }),
          { concurrency: 2 }
        )
        expect(wrong).toEqual(wrong.map(() => 2))
      }),
    120_000
  )

  it.live("the help shows the ways that hide a token before the one that shows it", () =>
    Effect.gen(function* () {
      for (const [command, variable] of [
        ["serve", "ARCP_TOKENS"],
        ["submit", "ARCP_TOKEN"]
      ] as const) {
        const { out } = yield* arcp([command, "--help"])
        const shown = out.slice(out.indexOf("OPTIONS"))
        const at = [shown.indexOf("--token-file"), shown.indexOf(variable), shown.search(/--token(?!-file)\b/)]
        expect(at.every((index) => index > 0)).toBe(true)
        expect(at).toEqual([...at].sort((a, b) => a - b))
        expect(shown.indexOf("--")).toBe(at[0])
        expect(out).toContain("other users of this machine can see it")
      }
    })
  )
})

describe("arcp submit: the token", () => {
  it.scopedLive(
    "§6.1 --token before --token-file before ARCP_TOKEN; without any it says what to give",
    () =>
      Effect.gen(function* () {
        const { url } = yield* serve(["--demo", "--token", "good=alice"])
        const good = fileOf("good", "good\n")
        const bad = fileOf("wrong", "wr0ng")
        expect((yield* echo(url, { ARCP_TOKEN: "good" })).code).toBe(0)
        expect((yield* echo(url, { ARCP_TOKEN: "wr0ng" }, "--token-file", good)).code).toBe(0)
        expect((yield* echo(url, { ARCP_TOKEN: "wr0ng" }, "--token-file", bad, "--token", "good")).code).toBe(0)
        const refused = yield* echo(url, { ARCP_TOKEN: "good" }, "--token-file", bad)
        expect(refused.code).toBe(1)
        expect(refused.err).toContain("UNAUTHENTICATED")
        expect(refused.err).not.toContain("wr0ng")
        expect((yield* echo(url, {})).err).toContain("set ARCP_TOKEN")
        const several = yield* echo(url, {}, "--token-file", fileOf("several", "good\nwr0ng\n"))
        expect(several.code).toBe(2)
        expect(several.err).toContain("one line")
      }),
    120_000
  )
})
