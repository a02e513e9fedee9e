/** Which agents `arcp serve --agents` takes from a module, and what it says of one that it cannot use. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Either, Layer } from "effect"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { agentsOf } from "../../src/cli/modules.js"
import { arcp, overStdio, programs, serve } from "./processes.js"
import { scratch } from "../support/scratch.js"

const folder = scratch("arcp-cli-modules-")
const file = (name: string, text: string) => {
  writeFileSync(join(folder, name), text)
  return join(folder, name)
}

const layer = () => Layer.effectDiscard(Effect.void)
const [a, b, c] = [layer(), layer(), layer()]
class Contract {}

const thrower = (trap: "get" | "getPrototypeOf" | "has" | "ownKeys") =>
  new Proxy(
    {},
    {
      [trap]: () => {
        throw new Error("hostile")
      }
    }
  )
const revoked = Proxy.revocable({}, {})
revoked.revoke()

describe("arcp serve without --agents", () => {
  it.scopedLive("hosts the demo agents, and says so with their names; with --agents it does not", () =>
    Effect.gen(function* () {
      const demo = yield* serve(["--anonymous"])
      expect(demo.said()).toMatch(/^arcp: hosting the demo agents, since no --agents is given: artifact, .*\becho\b/)
      expect((yield* arcp(["submit", "--url", demo.url, "--input", "7", "echo"])).out).toBe("7\n")
      const own = yield* serve(["--anonymous", "--agents", join(programs, "spy.js")])
      expect(own.said()).not.toContain("demo")
      expect((yield* arcp(["submit", "--url", own.url, "--input", "7", "echo"])).err).toContain("AGENT_NOT_AVAILABLE")
    })
  )
})

describe("the agents of a module", () => {
  it("are all layers that it exports, by default and by name, each once", () => {
    for (const [module, expected] of [
      [{ default: a }, [a]],
      [{ default: a, named: b }, [a, b]],
      [{ agents: a, other: b }, [a, b]],
      [{ default: [a, b], agents: [b, c] }, [a, b, c]],
      [{ a, again: a, default: a }, [a]],
      // As `import()` shows a module of CommonJS.
      [{ default: { a, b, limit: 1 }, a, b, "module.exports": { a, b } }, [a, b]],
      // A contract, a function, constants, null: nothing that hosts an agent.
      [
        { Contract, default: Contract, f: () => a, n: null, u: undefined, text: "a", list: ["a"], empty: [], o: {}, a },
        [a]
      ]
    ] as const) {
      expect(Either.getOrThrow(agentsOf(module as Readonly<Record<string, unknown>>))).toEqual(expected)
    }
  })

  it("are refused by the export's name where some would be lost silently", () => {
    const getter = {
      get default() {
        throw new Error("not yet")
      },
      a
    }
    for (const [module, text] of [
      [{}, "exports no agents"],
      [{ Contract, n: 1 }, "exports no agents"],
      [{ default: Promise.resolve(a) }, 'its export "default" is a promise'],
      [{ a, later: Promise.reject(new Error("unseen")) }, 'its export "later" is a promise'],
      [{ agents: [a, Promise.resolve(b)] }, 'its export "agents" has a promise at [1]'],
      [{ agents: [Promise.resolve(b)] }, 'its export "agents" has a promise at [0]'],
      [{ agents: [a, Contract] }, 'its export "agents" has something that is no layer at [1]'],
      [{ agents: { a, b: Promise.resolve(b) } }, 'its export "agents" has a promise at .b'],
      [getter, 'its export "default" cannot be read: not yet'],
      [{ x: thrower("getPrototypeOf"), a }, 'its export "x" cannot be read: hostile'],
      [{ x: thrower("ownKeys"), a }, 'its export "x" cannot be read: hostile'],
      [{ x: revoked.proxy, a }, 'its export "x" cannot be read']
    ] as const) {
      expect(Either.flip(agentsOf(module as Readonly<Record<string, unknown>>)).pipe(Either.getOrThrow)).toContain(text)
    }
  })

  it("are taken where another export is hostile to looks but not to reading", () => {
    for (const trap of ["get", "has"] as const) {
      expect(Either.getOrThrow(agentsOf({ a, x: thrower(trap) }))).toEqual([a])
    }
  })
})

describe("arcp serve --agents", () => {
  it.scopedLive("hosts what a module exports by default, by name, in a list and in an object", () =>
    Effect.gen(function* () {
      const { url } = yield* serve(["--anonymous", "--agents", join(programs, "several.js")])
      for (const agent of ["one", "two", "three", "four", "five", "six"]) {
        const { code, out } = yield* arcp(["submit", "--url", url, agent])
        expect([code, out]).toEqual([0, `${agent}\n`])
      }
    })
  )

  it.live("a module that is given twice is hosted once", () =>
    Effect.gen(function* () {
      const several = ["--agents", join(programs, "several.js")]
      const { code, frames } = yield* overStdio([...several, ...several], ["one"])
      expect([code, frames.at(-1)?.["type"]]).toEqual([0, "job.result"])
    })
  )

  it.live(
    "exits with 2 and says why, for each module that cannot be used",
    () =>
      Effect.gen(function* () {
        const cases = [
          [join(folder, "missing.mjs"), "Cannot find module"],
          [file("throws.mjs", 'throw new Error("no database")'), "no database"],
          [file("odd.mjs", "throw null"), "cannot be loaded: null"],
          [file("syntax.mjs", "export const = 1"), "cannot be loaded"],
          [file("nothing.mjs", "export const limit = 1"), "exports no agents"],
          [
            file("promise.mjs", "export default Promise.reject(new Error('unseen'))"),
            'its export "default" is a promise'
          ],
          [file("getter.cjs", "module.exports = { get agents() { throw new Error('not yet') } }"), "not yet"],
          [folder, "cannot be loaded"]
        ] as const
        const ran = yield* Effect.forEach(
          cases,
          ([path]) => arcp(["serve", "--anonymous", "--port", "0", "--agents", path]),
          { concurrency: 2 }
        )
        for (const [at, { code, err, out }] of ran.entries()) {
          const [path, text] = cases[at]!
          expect([path, code, out]).toEqual([path, 2, ""])
          expect(err).toContain(`arcp: --agents ${path}`)
          expect(err).toContain(text)
          // What the module threw, and no stack of the program.
          expect(err.trimEnd().split("\n").length).toBeLessThan(6)
        }
      }),
    60_000
  )

  it.live("agents that cannot be set up end the program with 1 and a text", () =>
    Effect.gen(function* () {
      const { code, err } = yield* arcp([
        "serve",
        "--anonymous",
        "--port",
        "0",
        "--agents",
        join(programs, "broken.js")
      ])
      expect(code).toBe(1)
      expect(err).toContain("arcp: unexpected failure: Error: the agents cannot be set up")
    })
  )
})
