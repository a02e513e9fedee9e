/**
 * How long others wait beside one busy job: pings over loopback, each server, consumer and pinger in a process of its own.
 * Prints figures and asserts nothing; the suite asserts the structure (`test/runtime/fairness`).
 *
 * `npx tsx scripts/fairness.ts [busy|stream|purge|frames …] [--mib 256] [--jobs 1] [--store memory|sqlite]`
 */
import { type ChildProcess, fork } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { Effect, Layer, Logger, LogLevel, Option, Redacted, Stream } from "effect"
import { WebSocket } from "ws"
import { Agent, Job } from "../src/agent/index.js"
import { Authenticator } from "../src/auth/index.js"
import { ArcpClient } from "../src/client/index.js"
import { ArcpRuntime, Limits } from "../src/runtime/index.js"
import { MemoryStore } from "../src/store/index.js"
import { SqliteStore } from "../src/store/sqlite.js"
import { WebSocketClient, WebSocketServer } from "../src/transport/node.js"

interface Orders {
  readonly role: "server" | "consumer"
  readonly scenario: string
  readonly store: string
  readonly filename: string
  readonly mib: number
  readonly jobs: number
  readonly url: string
}

const burn = (millis: number): void => {
  for (const end = performance.now() + millis; performance.now() < end; );
}

const agents = Layer.mergeAll(
  Agent.untyped("busy", (input) =>
    Effect.gen(function* () {
      const job = yield* Job
      const { items } = input as { readonly items: number }
      for (let n = 0; n < items; n++) {
        burn(20)
        yield* job.progress({ current: n, total: items })
      }
      return items
    })
  ),
  Agent.untyped("stream", (input) => {
    const { mib } = input as { readonly mib: number }
    const piece = "abcdefghijklmnop".repeat(4096)
    return Job.streamResult(
      Stream.unfold(0, (n) => (n >= mib * 16 ? Option.none() : Option.some([piece, n + 1] as const)))
    )
  })
)

const serve = ({ filename, scenario, store }: Orders) =>
  Effect.gen(function* () {
    const http = yield* Effect.promise(async () => (await import("node:http")).createServer().listen(0, "127.0.0.1"))
    yield* Effect.async<void>((resume) => void http.once("listening", () => resume(Effect.void)))
    const { port } = http.address() as { readonly port: number }
    const retention = scenario === "purge" ? { retainEndedFor: 2_000, sweepEvery: 1_000 } : {}
    const main = ArcpRuntime.layer({ drainTime: 0 }).pipe(
      Layer.provide(agents),
      Layer.provide(WebSocketServer.layerFromServer(http)),
      Layer.provide(Authenticator.layerBearer({ t: "alice", u: "bob" })),
      Layer.provide(store === "sqlite" ? SqliteStore.layer({ filename }) : MemoryStore.layer),
      Layer.provide(Limits.layer({ messagesPerSecond: 1_000_000, ...retention })),
      Layer.provide(Logger.minimumLogLevel(LogLevel.Warning))
    )
    yield* Layer.build(main)
    process.send!({ url: `ws://127.0.0.1:${port}/arcp` })
    return yield* Effect.never
  }).pipe(Effect.scoped)

const consume = ({ jobs, mib, scenario, url }: Orders) =>
  Effect.gen(function* () {
    const client = yield* ArcpClient
    const begin = performance.now()
    if (scenario === "busy") {
      const one = Effect.gen(function* () {
        const job = yield* client.submit("busy", { items: 100 })
        let first: number | undefined
        yield* Stream.runForEach(job.events, (event) =>
          Effect.sync(() => {
            if (event._tag === "progress") first ??= performance.now() - begin
          })
        )
        return first
      })
      const firsts = yield* Effect.all(
        Array.from({ length: jobs }, () => one),
        { concurrency: "unbounded" }
      )
      return { firstEventMillis: Math.round(Math.max(...firsts.map((first) => first ?? 0))) }
    }
    const job = yield* client.submit("stream", { mib })
    let bytes = 0
    yield* Effect.ignore(Stream.runForEach(job.chunks, (chunk) => Effect.sync(() => void (bytes += chunk.length))))
    const end = yield* Effect.either(job.result)
    const whole = `${Math.round(bytes / 1_048_576)} MiB, ${end._tag === "Right" ? "result there" : String(end.left)}`
    const took = performance.now() - begin
    return { whole, seconds: Math.round(took / 100) / 10 }
  }).pipe(
    Effect.provide(
      ArcpClient.layer({ auth: { token: Redacted.make("t") } }).pipe(Layer.provide(WebSocketClient.layer({ url })))
    )
  )

const start = (orders: Partial<Orders>): { readonly child: ChildProcess; readonly told: Promise<never> } => {
  const child = fork(fileURLToPath(import.meta.url), ["--orders", JSON.stringify(orders)], {
    execArgv: process.execArgv
  })
  const told = new Promise<never>((resolve, reject) => {
    child.once("message", (message) => resolve(message as never))
    child.once("exit", (code) => reject(new Error(`the ${orders.role} ended with ${code}`)))
  })
  return { child, told }
}

/** Pings every 10 ms, each when the one before is answered. */
const pinging = (url: string) => {
  const waits: Array<number> = []
  const ws = new WebSocket(url)
  const said = (type: string, payload: object) =>
    ws.send(JSON.stringify({ arcp: "1.1", id: `m${Math.random()}`, type, payload }))
  let sentAt = 0
  let begin = 0
  const ping = () => {
    sentAt = performance.now()
    said("session.ping", { nonce: "n", sent_at: new Date().toISOString() })
  }
  ws.on("open", () => said("session.hello", { auth: { scheme: "bearer", token: "u" }, client: { name: "p" } }))
  ws.on("message", (data) => {
    const { type } = JSON.parse(String(data)) as { readonly type: string }
    if (type === "session.welcome") {
      begin = performance.now()
      return ping()
    }
    if (type !== "session.pong") return
    waits.push(performance.now() - sentAt)
    setTimeout(ping, 10)
  })
  return {
    ready: new Promise((resolve) => ws.once("message", resolve)),
    stop: () => {
      const pending = performance.now() - sentAt
      ws.terminate()
      const sorted = [...waits].sort((a, b) => a - b)
      return {
        pings: sorted.length,
        p50: Math.round((sorted[sorted.length >> 1] ?? 0) * 10) / 10,
        p99: Math.round((sorted[Math.floor(sorted.length * 0.99)] ?? 0) * 10) / 10,
        max: Math.round(Math.max(sorted.at(-1) ?? 0, pending > 1_000 ? pending : 0) * 10) / 10,
        seconds: Math.round((performance.now() - begin) / 100) / 10
      }
    }
  }
}

/** Frames of 4 MiB that are understood and left alone, as fast as the socket takes them. */
const flooding = (url: string, connections: number) => {
  const frame = JSON.stringify({
    arcp: "1.1",
    id: "m1",
    type: "x-vendor.acme.noise",
    payload: { rows: Array.from({ length: 100_000 }, (_, n) => ({ n, text: "abcdefghijkl" })) }
  })
  const sockets = Array.from({ length: connections }, () => {
    const ws = new WebSocket(url)
    ws.on("open", () =>
      ws.send(
        JSON.stringify({
          arcp: "1.1",
          id: "h",
          type: "session.hello",
          payload: { auth: { scheme: "bearer", token: "t" } }
        })
      )
    )
    ws.on("error", () => {})
    const more = () => {
      if (ws.readyState === ws.OPEN) ws.send(frame, () => more())
    }
    ws.once("message", () => {
      more()
      more()
    })
    return ws
  })
  return () => sockets.forEach((ws) => ws.terminate())
}

const run = async (
  scenario: string,
  options: { readonly store: string; readonly mib: number; readonly jobs: number }
) => {
  const folder = mkdtempSync(join(tmpdir(), "arcp-fair-"))
  const orders = { scenario, ...options, filename: join(folder, "arcp.db") }
  const server = start({ ...orders, role: "server" })
  try {
    const { url } = (await server.told) as { readonly url: string }
    let pinger = pinging(url)
    await pinger.ready
    let outcome: object = {}
    if (scenario === "frames") {
      const stop = flooding(url, options.jobs)
      await new Promise((resolve) => setTimeout(resolve, 8_000))
      outcome = pinger.stop()
      stop()
    } else {
      const consumer = start({ ...orders, role: "consumer", url })
      const found = await consumer.told
      if (scenario === "purge") {
        // What counts is what comes now: the sweeps that find the job when it has ended.
        pinger.stop()
        pinger = pinging(url)
        await new Promise((resolve) => setTimeout(resolve, 15_000))
      }
      outcome = { ...(found as object), ...pinger.stop() }
      consumer.child.kill()
    }
    console.log(JSON.stringify({ scenario, ...options, ...outcome }))
  } finally {
    server.child.kill("SIGKILL")
    rmSync(folder, { recursive: true, force: true })
  }
}

const main = async (): Promise<void> => {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: {
      orders: { type: "string" },
      mib: { type: "string", default: "256" },
      jobs: { type: "string", default: "1" },
      store: { type: "string", default: "sqlite" }
    }
  })
  if (values.orders !== undefined) {
    const orders = JSON.parse(values.orders) as Orders
    if (orders.role === "server") return Effect.runPromise(serve(orders))
    const found = await Effect.runPromise(consume(orders))
    process.send!(found)
    return
  }
  for (const scenario of positionals.length > 0 ? positionals : ["busy", "stream", "purge", "frames"]) {
    await run(scenario, { store: values.store, mib: Number(values.mib), jobs: Number(values.jobs) })
  }
}

await main()
