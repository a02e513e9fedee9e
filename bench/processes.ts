/** The processes of a benchmark: each server and each client is one of its own, so that neither slows the other's loop. */
import { fork } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { Channel, type Tasks } from "./channel.js"

/** What is measured: bare `ws` with JSON, and the runtime on each store. */
export type BackendName = "floor" | "memory" | "sqlite"

/** A started program. */
export class Program {
  readonly channel: Channel
  private readonly exited: Promise<void>
  private readonly profile: string | undefined

  /** `label` names its profile, where one is taken into the folder `profile`. */
  constructor(program: "server" | "client", label: string, profile: string | undefined, tasks: Tasks = {}) {
    this.profile = profile === undefined ? undefined : join(profile, `${label}-${program}.cpuprofile`)
    const child = fork(fileURLToPath(new URL(`./${program}.js`, import.meta.url)), [], {
      execArgv: ["--expose-gc"],
      stdio: ["ignore", 2, 2, "ipc"]
    })
    this.channel = new Channel(child, tasks)
    this.exited = new Promise((resolve) =>
      child.once("exit", (code, signal) => {
        this.channel.end(`the ${program} ${label} ended (${signal ?? code})`)
        resolve()
      })
    )
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
}

/** A server and its client. */
export interface Backend {
  readonly name: BackendName
  readonly server: Channel
  readonly client: Channel
  readonly stop: () => Promise<void>
}

/** How a backend is started. */
export interface BackendOptions {
  readonly column: string
  readonly profile: string | undefined
  /** Where the SQLite file is; default a new one. */
  readonly filename?: string | undefined
  /** Events that its log holds already. */
  readonly prefill?: number | undefined
}

/** Starts both processes, connected. */
export const startBackend = async (name: BackendName, options: BackendOptions): Promise<Backend> => {
  const label = `${options.column}-${name}`
  const folder = name === "sqlite" ? mkdtempSync(join(tmpdir(), "arcp-bench-")) : undefined
  const server = new Program("server", label, options.profile)
  const client = new Program("client", label, options.profile, {
    server: ({ args, task }: { readonly task: string; readonly args: unknown }) => server.channel.call(task, args)
  })
  const stop = async () => {
    await client.stop()
    await server.stop()
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true })
  }
  try {
    const url = await server.start<string>({
      kind: name,
      filename: folder === undefined ? undefined : join(folder, "arcp.db"),
      prefill: options.prefill
    })
    await client.start({ kind: name === "floor" ? "floor" : "arcp", url })
  } catch (error) {
    await stop()
    throw error
  }
  return { name, server: server.channel, client: client.channel, stop }
}
