/** `arcp serve --stdio`: nothing but frames on stdout, whatever the agents and their modules print. */
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { join } from "node:path"
import { arcp, overStdio, programs, serve } from "./processes.js"

const noisy = ["--agents", join(programs, "noisy.js")]
const levels = ["trace", "debug", "info", "warning", "error", "fatal"] as const
const label = { trace: "TRACE", debug: "DEBUG", info: "INFO", warning: "WARN", error: "ERROR", fatal: "FATAL" } as const

const times = (text: string, part: string): number => text.split(part).length - 1

/** The lines of its own that the agent logs, one for each level. */
const spoken = (err: string) =>
  levels.map(
    (level) =>
      err.split("\n").filter((line) => line.includes(`level=${label[level]} `) && line.includes("the agent speaks"))
        .length
  )

describe("arcp serve --stdio", () => {
  it.live(
    "§4 at every log level, stdout carries frames only and stderr each line once, while the agent logs, prints and dies",
    () =>
      Effect.gen(function* () {
        const runs = yield* Effect.forEach(
          ["all", ...levels, "none"],
          (level) => Effect.map(overStdio([...noisy, "--log-level", level], ["noisy"]), (ran) => [level, ran] as const),
          { concurrency: 2 }
        )
        for (const [level, { code, err, frames }] of runs) {
          expect(code).toBe(0)
          const from = level === "all" ? 0 : level === "none" ? levels.length : levels.indexOf(level as "trace")
          // What the agent logs at Info and above is an event too, whatever is shown.
          const logged = levels.slice(levels.indexOf("info")).map(() => "job.event")
          expect([level, ...frames.map(({ type }) => type)]).toEqual([
            level,
            "session.welcome",
            "job.accepted",
            "job.event",
            ...logged,
            "job.error"
          ])
          expect([level, spoken(err)]).toEqual([level, levels.map((_, at) => (at >= from ? 1 : 0))])
          for (const when of ["at load", "in the job"]) {
            for (const how of [
              "console.log",
              "console.info",
              "console.debug",
              "console.error",
              "without a line end",
              "imported",
              "descriptor"
            ]) {
              expect([level, when, how, times(err, `${when}: ${how}`)]).toEqual([level, when, how, 1])
            }
          }
          expect(times(err, "a runtime of its own speaks")).toBe(1)
          expect(times(err, "Warning: the agent warns")).toBe(1)
          expect(times(err, "the agent dies")).toBe(from <= levels.indexOf("error") ? 1 : 0)
        }
      }),
    60_000
  )

  it.live("§4 a failure outside of the job ends the process, and stdout has whole frames only", () =>
    Effect.gen(function* () {
      for (const [agent, text] of [
        ["stray", "a stray failure"],
        ["unseen", "an unseen failure"]
      ] as const) {
        const { code, err, frames } = yield* overStdio(noisy, [agent])
        expect(code).toBe(1)
        // How far the job has come is not said.
        expect(["session.welcome", "job.accepted", "job.event"]).toEqual(
          expect.arrayContaining(frames.map(({ type }) => type))
        )
        expect(err).toContain(text)
      }
    })
  )

  it.live("§4 what is wrong with the command line is not told on stdout", () =>
    Effect.gen(function* () {
      const { code, err, out } = yield* arcp(["serve", "--stdio", "--anonymous", "--agents", "/no/such/module.js"])
      expect([code, out]).toEqual([2, ""])
      expect(err).toContain("--agents /no/such/module.js")
    })
  )

  it.scopedLive("on a port too, each log line is written once, to stderr", () =>
    Effect.gen(function* () {
      const served = yield* serve(["--anonymous", ...noisy, "--log-level", "trace"])
      yield* arcp(["submit", "--url", served.url, "noisy"])
      yield* served.says("the agent dies")
      expect(spoken(served.said())).toEqual(levels.map(() => 1))
      expect(served.out()).not.toContain("the agent speaks")
    })
  )
})
