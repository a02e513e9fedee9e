/** Runtime processes: one that runs, and one that has loaded already and waits for its turn. */
import { type ChildProcess, spawn } from "node:child_process"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { Redacted } from "effect"
import { bundle } from "../bundle.js"
import { Fault } from "./fault.js"
import type { Orders } from "./fixture.js"

let program: string | undefined

const bundled = (): string => (program ??= join(bundle({ runtime: "test/crash/fixture.ts" }), "runtime.js"))

/** What a process is told, with keys that no failure prints. */
interface Begun extends Omit<Orders, "key" | "to"> {
  readonly key?: Redacted.Redacted<string> | undefined
  readonly to?: Redacted.Redacted<string> | undefined
}

/** A process that has loaded. */
export class RuntimeProcess {
  private readonly child: ChildProcess
  private readonly lines: Array<string> = []
  private waiting: ((line: string | undefined) => void) | undefined
  private readonly ended: Promise<void>
  private errors = ""
  private memoryAtEnd = 0
  private closed = false
  /** Faults of its disk, where they can be made. */
  readonly fault: Fault | undefined

  constructor(fault?: Fault) {
    this.fault = fault
    this.child = spawn(process.execPath, ["--expose-gc", bundled()], {
      stdio: ["pipe", "pipe", "pipe"],
      env: { ...process.env, ...fault?.env }
    })
    this.ended = new Promise((resolve) => this.child.once("exit", () => resolve()))
    this.child.stderr!.on("data", (data) => (this.errors = (this.errors + String(data)).slice(-4_000)))
    // Whoever writes to a process that has been killed need not know.
    this.child.stdin!.on("error", () => undefined)
    const reader = createInterface({ input: this.child.stdout! })
    reader.on("line", (line) => {
      // Logs go to stdout as well; what the process says for itself begins otherwise.
      if (!/^(?:ready|ws:|memory )/.test(line)) {
        this.errors = `${this.errors}${line}\n`.slice(-4_000)
        return
      }
      this.lines.push(line)
      this.waiting?.(line)
    })
    reader.on("close", () => {
      this.closed = true
      this.waiting?.(undefined)
    })
  }

  private async line(prefix: string): Promise<string | undefined> {
    for (;;) {
      const at = this.lines.findIndex((line) => line.startsWith(prefix))
      if (at !== -1) return this.lines.splice(at, 1)[0]
      if (this.closed) return undefined
      const more = await new Promise<string | undefined>((resolve) => (this.waiting = resolve))
      if (more === undefined) return undefined
    }
  }

  /** Tells it to start, or to give a file another key. */
  async begin({ key, to, ...orders }: Begun): Promise<void> {
    await this.line("ready")
    const keys = { key: key && Redacted.value(key), to: to && Redacted.value(to) }
    this.child.stdin!.write(`${JSON.stringify({ ...orders, ...keys })}\n`)
  }

  /** Where it listens; undefined where it has been killed before. */
  async address(): Promise<string | undefined> {
    return this.line("ws:")
  }

  /** Bytes of its heap after a collection, and of the process. */
  async memory(): Promise<{ readonly heap: number; readonly rss: number }> {
    this.child.stdin!.write("memory\n")
    const [, heap, rss] = ((await this.line("memory ")) ?? "memory 0 0").split(" ")
    return { heap: Number(heap), rss: Number(rss) }
  }

  /** The most memory that it has had, in bytes; 0 where the system does not tell. Kept from before its death. */
  get peak(): number {
    return this.running ? this.measured() : this.memoryAtEnd
  }

  private measured(): number {
    try {
      const status = readFileSync(`/proc/${this.child.pid}/status`, "utf8")
      return Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024
    } catch {
      return 0
    }
  }

  /** What it complained of. */
  get complaints(): string {
    return this.errors
  }

  get running(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null
  }

  /** Ends it without a word. */
  async kill(): Promise<void> {
    if (this.running) this.memoryAtEnd = this.measured()
    this.child.kill("SIGKILL")
    await this.ended
    this.fault?.end()
  }

  /** Ends it at this call that writes its file, counted from now; where none comes in time, or none can be counted, at some other moment. */
  async killAt(call: number, millis: number): Promise<void> {
    this.memoryAtEnd = this.measured()
    this.fault?.set("die", call)
    await Promise.race([this.ended, pause(this.fault === undefined ? Math.min(call, millis) : millis)])
    await this.kill()
  }
}

/** Always one process ahead, since loading takes longer than living. */
export class Runtimes {
  private spare: RuntimeProcess | undefined = new RuntimeProcess(Fault.make())

  /** The process that has loaded; the next one begins to. */
  next(): RuntimeProcess {
    const taken = this.spare ?? new RuntimeProcess(Fault.make())
    this.spare = new RuntimeProcess(Fault.make())
    return taken
  }

  async end(): Promise<void> {
    const { spare } = this
    this.spare = undefined
    await spare?.kill()
  }
}

/** Waits. */
export const pause = (millis: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, millis))

/** Numbers from a seed: the same in every run. */
export const randomOf = (seed: number) => {
  let state = (seed ^ 0x9e3779b9) >>> 0
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
  return {
    /** A whole number from `low` to `high`. */
    int: (low: number, high: number): number => low + Math.floor(next() * (high - low + 1)),
    chance: (probability: number): boolean => next() < probability,
    pick: <A>(items: ReadonlyArray<A>): A => items[Math.floor(next() * items.length)]!
  }
}

export type Random = ReturnType<typeof randomOf>
