/** The page on `arcp`: it has every option with its default, every exit code, and what its commands print. */
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { spawn } from "node:child_process"
import { readFileSync } from "node:fs"
import { exitCodes } from "../../src/cli/errors.js"
import { optionNames } from "../../src/cli/parserConsole.js"
import { serveOptions } from "../../src/cli/serveOptions.js"
import { rekeyOptions } from "../../src/cli/storeOptions.js"
import { submitOptions } from "../../src/cli/submitOptions.js"
import { bin, serve } from "../cli/processes.js"
import { blocksOf } from "./pages.js"

const page = readFileSync("docs/cli.md", "utf8")

/** The text under a heading, up to the next one. */
const section = (heading: string): string => page.split(`\n## ${heading}\n`)[1]?.split("\n## ")[0] ?? ""

/** The options that a section lists, and what it says of their defaults. */
const listed = (heading: string): ReadonlyMap<string, string> =>
  new Map(
    Array.from(
      section(heading).matchAll(/^\| `(--[a-z-]+)(?: [A-Z=]+)?` \| ([^|]+) \|/gm),
      ([, name = "", given = ""]) => [name, given]
    )
  )

/** The defaults of options that are texts. */
const defaultsOf = (options: object): ReadonlyArray<readonly [name: string, value: string]> =>
  Object.entries(options).flatMap(([key, option]) => {
    const { fallback } = option as { readonly fallback?: unknown }
    return typeof fallback === "string" ? [[[...optionNames({ [key]: 0 })][0]!, fallback] as const] : []
  })

const shown = (...words: ReadonlyArray<string>): string | undefined =>
  blocksOf(page).find(({ language, words: of }) => language === "text" && of.join(" ") === words.join(" "))?.text

/** The shell command of the page that begins so. */
const command = (begin: string): string =>
  blocksOf(page)
    .find(({ language, text }) => language === "sh" && text.startsWith(begin))
    ?.text.trim() ?? ""

/** Runs a command of the page as a shell does. */
const run = (text: string) =>
  Effect.async<{ readonly code: number | null; readonly out: string; readonly err: string }>((resume) => {
    const child = spawn("sh", ["-c", `arcp() { "${process.execPath}" "${bin}" "$@"; }\n${text}`], {
      stdio: ["ignore", "pipe", "pipe"],
      timeout: 60_000,
      killSignal: "SIGKILL"
    })
    let out = ""
    let err = ""
    child.stdout.on("data", (data) => (out += data))
    child.stderr.on("data", (data) => (err += data))
    child.on("close", (code) => resume(Effect.succeed({ code, out, err })))
  })

/** What differs from run to run, as the page spells it. */
const spelled = (text: string): string =>
  text
    .replace(/^job_[0-9A-Z]{26}/gm, "JOB")
    .replace(/is given: [a-z-]+(?:, [a-z-]+)+$/m, "is given: NAMES")
    .replace(/fs\.read \/\S+\/\*\*/, "fs.read FOLDER/**")
    .replace(/127\.0\.0\.1:\d+/, "127.0.0.1:7777")

describe("docs/cli.md", () => {
  for (const [heading, options] of [
    ["arcp serve", serveOptions],
    ["arcp submit", submitOptions],
    ["arcp store rekey", rekeyOptions]
  ] as const) {
    it(`lists each option of ${heading}, and no other`, () => {
      expect([...listed(heading).keys()].toSorted()).toEqual([...optionNames(options)].toSorted())
    })
  }

  for (const [heading, options] of [
    ["arcp serve", serveOptions],
    ["arcp submit", submitOptions]
  ] as const) {
    it(`has the defaults of ${heading}`, () => {
      const defaults = defaultsOf(options)
      expect(defaults.length).toBeGreaterThan(1)
      for (const [name, value] of defaults) expect([name, listed(heading).get(name)]).toEqual([name, `\`${value}\``])
    })
  }

  it("lists the option of arcp version", () => {
    expect([...listed("arcp version").keys()]).toEqual(["--json"])
  })

  it("has each exit code", () => {
    const codes = Array.from(section("Exit codes").matchAll(/^\| (\d+) \|/gm), ([, code]) => code)
    expect(codes).toEqual(exitCodes.map(([code]) => code))
  })

  it.scopedLive("its commands print what it shows", () =>
    Effect.gen(function* () {
      const [, , ...args] = command("arcp serve").split(" ")
      const runtime = yield* serve(args)
      expect(spelled(runtime.said())).toBe(shown("serve", "stderr"))
      const { code, err, out } = yield* run(`${command("arcp submit counter")} --url ${runtime.url}`)
      expect({ code, out, err: spelled(err) }).toEqual({
        code: 0,
        out: shown("submit", "stdout"),
        err: shown("submit", "stderr")
      })
    })
  )
})
