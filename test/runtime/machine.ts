/** Runtimes that are killed and start again on the same file, for tests of what that leaves; and what such tests ask. */
import { type Context, Deferred, Effect, type Layer } from "effect"
import { copyFileSync, existsSync } from "node:fs"
import { join } from "node:path"
import { Agent, Job } from "../../src/agent/index.js"
import type { LimitsShape } from "../../src/runtime/index.js"
import { SqliteStore } from "../../src/store/sqlite.js"
import type { Connector } from "../../src/transport/Connection.js"
import { makeStore, start } from "./mortal.js"
import { allFeatures, type Frame, hello, type Peer } from "./peer.js"
import { gate } from "./world.js"
import { scratch } from "../support/scratch.js"

const folder = scratch("arcp-restart-")
let machines = 0

export type Client = Peer & { readonly sessionId: string; readonly token: string }

/** A machine whose processes are killed: each start finds the store's file as the last kill left it. */
export const machine = (agents: Layer.Layer<never>, limits: Partial<LimitsShape> = {}) => {
  const name = `m${machines++}`
  let starts = 0
  let running: { readonly die: Effect.Effect<void> } | undefined
  const kill = Effect.suspend(() => running?.die ?? Effect.void)
  return {
    /** From here on nothing is stored any more. */
    kill,
    /** Kills what runs, and starts again. */
    start: Effect.gen(function* () {
      yield* kill
      const [from, to] = [join(folder, `${name}-${starts}.db`), join(folder, `${name}-${++starts}.db`)]
      for (const end of ["", "-wal"]) if (existsSync(from + end)) copyFileSync(from + end, to + end)
      const { die, layer } = yield* makeStore(SqliteStore.layer({ filename: to }))
      running = { die }
      return yield* start(layer, agents, limits)
    })
  }
}

export const features = allFeatures.filter((feature) => feature !== "heartbeat")

export const connect = (process: Context.Context<Connector>, token = "alice-token") =>
  Effect.provide(hello({ features, token }), process)

/** A session goes on in another process, from a number on. */
export const resume = (process: Context.Context<Connector>, { sessionId, token }: Client, after: number) =>
  Effect.provide(
    hello({ features, resume: { session_id: sessionId, resume_token: token, last_event_seq: after } }),
    process
  )

export const ask = (peer: Peer, type: string, payload: object = {}) =>
  Effect.flatMap(peer.send(type, payload), peer.reply)

/** Waits for the last of some logs. */
export const hears = (peer: Peer, ...messages: ReadonlyArray<string>) => {
  const missing = new Set(messages)
  return peer.next("job.event", ({ payload }) => missing.delete(payload.body.message) && missing.size === 0)
}

export const open = (name: string) => Deferred.succeed(gate(name), undefined)

/** The numbers of events, and what numbers they must be. */
export const numbers = (events: ReadonlyArray<Frame>) => events.map(({ event_seq }) => event_seq)
export const upFrom = (first: number, events: ReadonlyArray<Frame>) => events.map((_, n) => first + n)

/** Says that it has begun, waits for the gate of its attempt, and answers its attempt. */
export const waiting = (
  name: string,
  options: { onRestart?: "rerun"; maxRunning?: number } = {},
  started?: Array<string>
) =>
  Agent.untyped(
    name,
    (input) =>
      Effect.gen(function* () {
        const { attempt } = yield* Job
        started?.push(`${name} ${String(input)} ${attempt}`)
        yield* Job.log(`${name} ${attempt}`)
        yield* Deferred.await(gate(`${name} ${attempt}`))
        yield* Job.log(`${name} ${attempt} goes on`)
        return attempt
      }),
    options
  )

export const echo = Agent.untyped("echo", (input) => Effect.succeed(input))
