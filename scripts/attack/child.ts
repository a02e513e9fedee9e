/** Programs that are attacked, each a process with a capped heap: built ones, on the built package. */
import { type ChildProcess, spawn } from "node:child_process"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { within } from "./small.js"

const file = (path: string): string => fileURLToPath(new URL(path, import.meta.url))
/** The repository, from where this file is built. */
const root = import.meta.url.endsWith(".js") ? file("../../../../") : file("../../")

/** Where the programs are. */
let places = { programs: file("programs/"), arcp: join(root, "dist/cli/bin.js") }

/** Takes programs from elsewhere: those of the unit tests are bundled from source. */
export const usePrograms = (where: typeof places): void => void (places = where)

/** How a program is started. */
export interface ChildOptions {
  /** One of the programs beside this file, or `arcp` for the command line. */
  readonly program: string
  readonly args?: ReadonlyArray<string>
  readonly env?: Readonly<Record<string, string>>
  /** The cap of its heap, in MiB. Default 256. */
  readonly memory?: number
}

/** Something that a program reported: a line on stdout that begins with `@ `. */
export type Report = { readonly kind: string } & Readonly<Record<string, unknown>>

const all = new Set<ChildProcess>()
process.on("exit", () => {
  for (const child of all) child.kill("SIGKILL")
})

/** A program that runs. */
export class Child {
  readonly process: ChildProcess
  readonly reports: Array<Report> = []
  /** What it wrote to stderr, and to stdout without reporting; the last 20,000 characters. */
  output = ""
  exit: { readonly code: number | null; readonly signal: string | null } | undefined
  private waiting: Array<() => void> = []

  constructor(options: ChildOptions) {
    const { args = [], env = {}, memory = 256, program } = options
    const target = program === "arcp" ? places.arcp : join(places.programs, `${program}.js`)
    this.process = spawn(process.execPath, [`--max-old-space-size=${memory}`, target, ...args], {
      cwd: root,
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "pipe"]
    })
    all.add(this.process)
    let rest = ""
    this.process.stdout?.setEncoding("utf8").on("data", (text: string) => {
      const lines = (rest + text).split("\n")
      // A report is short; of a log line of 100 MB only the beginning is kept.
      rest = (lines.pop() ?? "").slice(0, 100_000)
      for (const one of lines) {
        if (one.startsWith("@ ")) this.reports.push(JSON.parse(one.slice(2)) as Report)
        else this.wrote(`${one}\n`)
      }
      this.wake()
    })
    this.process.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.wrote(text)
      this.wake()
    })
    this.process.once("error", (error) => {
      this.exit ??= { code: null, signal: error.message }
      this.wake()
    })
    this.process.once("exit", (code, signal) => {
      this.exit = { code, signal }
      all.delete(this.process)
      this.wake()
    })
  }

  private wrote(text: string): void {
    this.output = (this.output + text.slice(-20_000)).slice(-20_000)
  }

  private wake(): void {
    const waiting = this.waiting
    this.waiting = []
    for (const resume of waiting) resume()
  }

  /** What `look` finds, as soon as it finds something; undefined once the time is over or the program has ended. */
  async until<A>(millis: number, look: () => A | undefined): Promise<A | undefined> {
    const deadline = performance.now() + millis
    for (;;) {
      const found = look()
      if (found !== undefined) return found
      const left = deadline - performance.now()
      if (left <= 0 || this.exit !== undefined) return undefined
      await within(left, new Promise<void>((resume) => this.waiting.push(resume)), undefined)
    }
  }

  /** The first report of this kind. */
  report(kind: string, millis: number): Promise<Report | undefined> {
    return this.until(millis, () => this.reports.find((report) => report.kind === kind))
  }

  /** Where it listens. Rejects with what it wrote where it does not. */
  async address(millis = 20_000): Promise<string> {
    const found = await this.until(millis, () => {
      const ready = this.reports.find((report) => report.kind === "ready")
      return typeof ready?.["address"] === "string" ? ready["address"] : /listening on (ws\S+)/.exec(this.output)?.[1]
    })
    if (found === undefined) throw new Error(`the program does not listen: ${this.output.slice(-400)}`)
    return found
  }

  /** Asks it to end as a service manager would: the milliseconds that it took, undefined where it did not end. */
  async stop(millis: number): Promise<number | undefined> {
    const started = performance.now()
    this.process.kill("SIGTERM")
    while (this.exit === undefined && performance.now() - started < millis) {
      await within(50, new Promise<void>((resume) => this.waiting.push(resume)), undefined)
    }
    return this.exit === undefined ? undefined : performance.now() - started
  }

  /** Bytes that it has in memory. */
  get rss(): number {
    return this.status("VmRSS")
  }

  /** The most bytes that it has had in memory. */
  get peak(): number {
    return this.status("VmHWM")
  }

  private status(field: string): number {
    try {
      const text = readFileSync(`/proc/${this.process.pid}/status`, "utf8")
      return Number(new RegExp(`^${field}:\\s+(\\d+) kB`, "m").exec(text)?.[1] ?? 0) * 1024
    } catch {
      return 0
    }
  }

  kill(): void {
    if (this.exit === undefined) this.process.kill("SIGKILL")
  }
}
