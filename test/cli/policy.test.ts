/** What `arcp serve` lets jobs do. */
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { realpathSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { arcp, programs, type Served, serve } from "./processes.js"
import { scratch } from "../support/scratch.js"

const folder = realpathSync(scratch("arcp-cli-policy-"))
writeFileSync(join(folder, "a.txt"), "a file")

const tokens = ["--token", "a-token=alice", "--token", "b-token=bob"]

const read = ({ url }: Served, path: string, patterns: ReadonlyArray<string>, token = "a-token") =>
  arcp(
    [
      "submit",
      "--url",
      url,
      "--input",
      JSON.stringify({ path }),
      "--lease",
      JSON.stringify({ "fs.read": patterns }),
      "read"
    ],
    token === "" ? {} : { ARCP_TOKEN: token }
  )

const file = join(folder, "a.txt")
const demo = join(realpathSync(programs), "examples")

describe("arcp serve: what jobs may be granted", () => {
  it.scopedLive(
    "§9 without a policy the demo agents read their own folder and nothing else; both sides say what was left out",
    () =>
      Effect.gen(function* () {
        const served = yield* serve(["--demo", ...tokens])
        expect(served.said()).toContain(`jobs may be granted no more than fs.read ${demo}/**`)
        expect(served.said()).toContain("--allow CAPABILITY=PATTERN")
        const own = yield* read(served, join(demo, "agents.js"), [`${demo}/**`])
        expect(own.code).toBe(0)
        expect(own.out).toContain("bytes")
        expect(own.err).not.toContain("narrowed")
        const secret = `/proc/${served.pid}/cmdline`
        for (const [path, pattern] of [
          [secret, "/proc/**"],
          ["/proc/self/environ", "/proc/**"],
          ["/etc/passwd", "/etc/**"],
          [file, `${folder}/**`],
          ["/etc/passwd", "/**"]
        ] as const) {
          const refused = yield* read(served, path, [pattern])
          expect(refused.code).toBe(1)
          expect(refused.out).toBe("")
          expect(refused.err).toContain("PERMISSION_DENIED")
          expect(refused.err).toContain(`arcp: the runtime narrowed the lease: fs.read: "${pattern}" was not granted`)
          yield* served.says(`a lease was narrowed: fs.read: \\"${pattern}\\" was not granted`)
        }
        expect(served.said()).toContain("principal=alice")
        expect(served.said()).not.toContain("a-token")
        // With --stdio it is the protocol's.
        expect(served.out()).toBe("")
      }),
    120_000
  )

  it.scopedLive(
    "§9 --allow grants to everybody what it names, of any capability; /proc only where it is named",
    () =>
      Effect.gen(function* () {
        const served = yield* serve([
          ...["--demo", ...tokens, "--anonymous"],
          ...["--allow", `fs.read=${folder}/**`, "--allow", "fs.read=/proc/uptime", "--allow", "cost.budget=USD:1.00"]
        ])
        expect((yield* read(served, file, ["/**"])).out).toContain("a file")
        expect((yield* read(served, file, [file], "")).out).toContain("a file")
        const budget = yield* read(served, file, [file])
        expect(budget.err).toContain('cost.budget: limited to "USD:1"')
        expect((yield* read(served, "/proc/uptime", ["/proc/**"])).code).toBe(0)
        expect((yield* read(served, "/proc/meminfo", ["/proc/**"])).err).toContain("PERMISSION_DENIED")
        expect((yield* read(served, "/etc/passwd", ["/**"])).err).toContain("PERMISSION_DENIED")
        const tool = yield* arcp([
          ...["submit", "--url", served.url, "--token", "a-token", "--lease", '{"tool.call": ["x"]}'],
          ...["--input", '{"charges": ["USD:0.10"], "tool": "x"}', "spend"]
        ])
        expect(tool.err).toContain('tool.call: "x" was not granted')
        expect(tool.out).toContain("PERMISSION_DENIED")
      }),
    120_000
  )

  it.scopedLive(
    "§9 --allow-file decides for each principal, with * for the others",
    () =>
      Effect.gen(function* () {
        const policy = join(folder, "policy.json")
        writeFileSync(
          policy,
          JSON.stringify({ alice: { "fs.read": [`${folder}/**`] }, bob: "any", "*": { "tool.call": ["**"] } })
        )
        const served = yield* serve(["--demo", ...tokens, "--token", "c-token=carol", "--allow-file", policy])
        expect((yield* read(served, file, ["/**"])).code).toBe(0)
        expect((yield* read(served, "/etc/passwd", ["/**"])).code).toBe(1)
        expect((yield* read(served, "/etc/passwd", ["/**"], "b-token")).code).toBe(0)
        expect((yield* read(served, "/proc/uptime", ["/proc/**"], "b-token")).code).toBe(1)
        expect((yield* read(served, file, ["/**"], "c-token")).code).toBe(1)
      }),
    120_000
  )

  it.scopedLive(
    "§9 --allow-file without * grants others nothing; names of the prototype are ordinary principals",
    () =>
      Effect.gen(function* () {
        const policy = join(folder, "own.json")
        writeFileSync(policy, `{"__proto__": {"fs.read": ["${folder}/**"]}, "anonymous:*": {"fs.read": ["${file}"]}}`)
        const served = yield* serve([
          "--demo",
          "--token",
          "p-token=__proto__",
          "--token",
          "a-token=toString",
          "--anonymous",
          "--allow-file",
          policy
        ])
        expect((yield* read(served, file, ["/**"], "p-token")).code).toBe(0)
        expect((yield* read(served, file, ["/**"], "a-token")).code).toBe(1)
        expect((yield* read(served, file, [file], "")).code).toBe(0)
      }),
    120_000
  )

  it.scopedLive(
    "§9 --allow-any grants what is asked for, but system folders, and says so",
    () =>
      Effect.gen(function* () {
        const served = yield* serve(["--demo", ...tokens, "--allow-any"])
        expect(served.said()).toContain("--allow-any")
        expect((yield* read(served, "/etc/passwd", ["/etc/**"])).code).toBe(0)
        const closed = yield* read(served, `/proc/${served.pid}/environ`, ["/proc/**"])
        expect(closed.err).toContain('fs.read: "/proc/**" was not granted')
        expect(closed.code).toBe(1)
      }),
    120_000
  )

  it.scopedLive(
    "§9 agents of a module are granted tool.call only where nothing is said",
    () =>
      Effect.gen(function* () {
        const served = yield* serve(["--agents", join(programs, "spy.js"), ...tokens])
        expect(served.said()).toContain("jobs may be granted no more than tool.call **")
        const lease = { "fs.read": ["/**"], "tool.call": ["x"], "model.use": ["**"], "net.fetch": ["https://**"] }
        const ran = yield* arcp([
          "submit",
          "--url",
          served.url,
          "--token",
          "a-token",
          "--json",
          "--lease",
          JSON.stringify(lease),
          "spy"
        ])
        expect(JSON.parse(ran.out.split("\n")[0]!)).toMatchObject({
          type: "accepted",
          lease: { "tool.call": ["x"], "model.use": [] }
        })
        for (const capability of ["fs.read", "model.use", "net.fetch"]) {
          expect(ran.err).toContain(`the runtime narrowed the lease: ${capability}:`)
        }
      }),
    120_000
  )

  it.live(
    "a policy that is wrong exits with 2 and names what is wrong",
    () =>
      Effect.gen(function* () {
        const malformed = join(folder, "malformed.json")
        writeFileSync(malformed, '{"alice": {"fs.raed": ["/data/**"]}}')
        const list = join(folder, "list.json")
        writeFileSync(list, '[{"fs.read": []}]')
        const shape = join(folder, "shape.json")
        writeFileSync(shape, '{"alice": {"fs.read": "/data/**"}}')
        const wrong = yield* Effect.forEach(
          [
            ["--allow", "fs.read"],
            ["--allow", "fs.raed=/data/**"],
            ["--allow", "fs.read=data/**"],
            ["--allow", "fs.read=/x", "--allow-any"],
            ["--allow-file", join(folder, "missing.json")],
            ["--allow-file", malformed],
            ["--allow-file", list],
            ["--allow-file", shape]
          ],
          (args) => arcp(["serve", "--demo", ...tokens, ...args]),
          { concurrency: 2 }
        )
        expect(wrong.map(({ code }) => code)).toEqual(wrong.map(() => 2))
        const said = wrong.map(({ err }) => err)
        expect(said[0]).toContain("fs.read=/data/**")
        expect(said[1]).toContain("did you mean fs.read?")
        expect(said[2]).toContain("not absolute")
        expect(said[3]).toContain("exclude each other")
        expect(said[4]).toContain("cannot be read")
        expect(said[5]).toContain('"alice"')
        expect(said[6]).toContain("JSON object")
        expect(said[7]).toContain('{"fs.read": ["/data/**"]}')
      }),
    120_000
  )
})
