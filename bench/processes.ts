/** The processes of a benchmark: each server and each client is one of its own, so that none slows another's loop. */
import { type ChildProcess, fork } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { Channel, type Tasks } from "./channel.js"
import type { ClientKind } from "./client.js"
import { cpuOf, rssOf } from "./proc.js"

/** What is measured of ours: bare `ws` with JSON, and the runtime on each store. */
export type BackendName = "floor" | "memory" | "sqlite"

/** A started program. */
export class Program {
  readonly channel: Channel
  private readonly exited: Promise<void>
  private readonly profile: string | undefined
  private readonly child: ChildProcess

  /** `label` names its profile, where one is taken into the folder `profile`. */
  constructor(
    program: "server" | "client",
    label: string,
    profile: string | undefined,
    tasks: Tasks = {},
    flags: ReadonlyArray<string> = []
  ) {
    this.profile = profile === undefined ? undefined : join(profile, `${label}-${program}.cpuprofile`)
    this.child = fork(fileURLToPath(new URL(`./${program}.js`, import.meta.url)), [], {
      execArgv: ["--expose-gc", ...flags],
      stdio: ["ignore", 2, 2, "ipc"]
    })
    this.channel = new Channel(this.child, tasks)
    this.exited = new Promise((resolve) =>
      this.child.once("exit", (code, signal) => {
        this.channel.end(`the ${program} ${label} ended (${signal ?? code})`)
        resolve()
      })
    )
  }

  get pid(): number {
    return this.child.pid!
  }

  /** Starts it, and then its profile. */
  async start<A>(orders: object): Promise<A> {
    const answer = await this.channel.call<A>("start", orders)
    if (this.profile !== undefined) await this.channel.call("startProfile")
    return answer
  }

  /** Ends it by itself, so that it can still write its profile. */
  async stop(): Promise<void> {
    this.channel.call("stop", { profile: this.profile }).catch(() => undefined)
    await this.exited
  }

  /** Ends it whatever it does. */
  async kill(): Promise<void> {
    this.child.kill("SIGKILL")
    await this.exited
  }
}

/** A server and its clients. */
export interface Backend {
  readonly name: string
  /** Asks a client; the first one that was started, where none is named. */
  readonly run: <A>(task: string, args?: object, client?: ClientKind) => Promise<A>
  /** Asks the server's process, past the connection that is measured. */
  readonly server: <A>(task: string, args?: object) => Promise<A>
  /** Microseconds of processor time of the server so far, all of its threads; undefined where it cannot be seen. */
  readonly cpu: () => Promise<number | undefined>
  /** Bytes of the server's process; undefined where they cannot be seen. */
  readonly rss: () => Promise<number | undefined>
  readonly stop: () => Promise<void>
}

/** How a backend is started. */
export interface BackendOptions {
  readonly column: string
  readonly profile: string | undefined
  /** Which clients it has; the floor has its own one only. Default: this package's. */
  readonly clients?: ReadonlyArray<ClientKind> | undefined
  /** Events that its log holds already. */
  readonly prefill?: number | undefined
  /** Bounds of the runtime, beside those that the benchmark changes always. */
  readonly limits?: object | undefined
  /** How SQLite writes. Default: NORMAL. */
  readonly synchronous?: "NORMAL" | "FULL" | undefined
  /** Flags of the server's process. */
  readonly flags?: ReadonlyArray<string> | undefined
}

/** Starts the processes, connected. */
export const startBackend = async (name: BackendName, options: BackendOptions): Promise<Backend> => {
  const label = `${options.column}-${name}`
  const folder = name === "sqlite" ? mkdtempSync(join(tmpdir(), "arcp-bench-")) : undefined
  const server = new Program("server", label, options.profile, {}, options.flags)
  const kinds: ReadonlyArray<ClientKind> = name === "floor" ? ["floor"] : (options.clients ?? ["own"])
  const tasks: Tasks = {
    server: ({ args, task }: { readonly task: string; readonly args: unknown }) => server.channel.call(task, args)
  }
  const clients = new Map<ClientKind, Program>()
  const stop = async () => {
    await Promise.all([...clients.values()].map((client) => client.stop()))
    await server.stop()
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true })
  }
  try {
    const url = await server.start<string>({
      kind: name,
      filename: folder === undefined ? undefined : join(folder, "arcp.db"),
      prefill: options.prefill,
      limits: options.limits,
      synchronous: options.synchronous
    })
    for (const kind of kinds) {
      const suffix = kinds.length > 1 ? `-${kind}` : ""
      const client = new Program("client", `${label}${suffix}`, options.profile, tasks)
      clients.set(kind, client)
      await client.start({ kind, url })
    }
  } catch (error) {
    await stop()
    throw error
  }
  return {
    name,
    run: (task, args = {}, kind = kinds[0]!) => {
      const client = clients.get(name === "floor" ? "floor" : kind)
      if (client === undefined) throw new Error(`${label} has no ${kind} client`)
      return client.channel.call("run", { task, args })
    },
    server: (task, args) => server.channel.call(task, args),
    cpu: async () => cpuOf(server.pid) ?? (await server.channel.call<number>("cpu")),
    rss: async () => rssOf(server.pid) ?? (await server.channel.call<{ readonly rss: number }>("memory")).rss,
    stop
  }
}
