/**
 * A client whose runtime's frames are spoilt on their way: a real conversation with a real runtime, of which some frames
 * come mutated, twice, in another order, or not at all.
 */
import { describe, expect, it } from "@effect/vitest"
import {
  Cause,
  Chunk,
  Context,
  Effect,
  Exit,
  FastCheck as fc,
  Fiber,
  Layer,
  Option,
  Random,
  Redacted,
  Stream,
  TestClock
} from "effect"
import { ArcpClient } from "../../src/client/index.js"
import { Ids, Message } from "../../src/protocol/index.js"
import { Connector } from "../../src/transport/Connection.js"
import { world } from "../runtime/world.js"
import { mutation } from "./mutations.js"
import { isTyped } from "../client/typed.js"
import { runs } from "../support/properties.js"

interface Spoilt {
  readonly text: string
  readonly type: string
  /** Whether what the frame says was changed, and not only when and how often it came. */
  readonly changed: boolean
}

interface Plan {
  /** Of the frames that the client is sent, the one with this number. */
  readonly at: number
  readonly how: "mutate" | "drop" | "twice" | "swap" | "again" | "retype"
  readonly mutate: (text: string) => string
  readonly type: string
}

const plansOf = (...hows: ReadonlyArray<Plan["how"]>): fc.Arbitrary<ReadonlyArray<Plan>> =>
  fc.array(
    fc.record({
      at: fc.oneof(fc.nat({ max: 15 }), fc.nat({ max: 45 })),
      how: fc.constantFrom(...hows),
      mutate: mutation,
      type: fc.constantFrom(...Object.keys(Message.runtimeMessages))
    }),
    { maxLength: 6 }
  )

const carriage = ["drop", "twice", "swap", "again"] as const

/** Half of the runs leave alone what the frames say, so that every value must be the right one. */
const plan = fc.oneof(plansOf(...carriage), plansOf("mutate", "mutate", "mutate", "retype", ...carriage))

/** Every client of this connector gets its runtime's frames as the plan says; `spoilt` tells which were. */
const through = (plans: ReadonlyArray<Plan>, spoilt: Array<Spoilt>) =>
  Layer.effect(
    Connector,
    Effect.map(Connector, (connector) => {
      let at = 0
      let first: string | undefined
      let held: string | undefined
      const carry = (frame: string): ReadonlyArray<string> => {
        const now = plans.filter((plan) => plan.at === at)
        at++
        first ??= frame
        const out = held === undefined ? [] : [held]
        held = undefined
        let sent = [frame]
        for (const { how, mutate, type } of now) {
          if (how === "mutate") sent = sent.map(mutate)
          if (how === "retype") sent = [JSON.stringify({ ...JSON.parse(frame), type })]
          if (how === "drop") sent = []
          if (how === "twice") sent = [...sent, ...sent]
          if (how === "again") sent = [...sent, first]
          if (how === "swap") {
            held = sent[0]
            sent = []
          }
          spoilt.push({
            type: (JSON.parse(frame) as { type: string }).type,
            text: sent.join(""),
            changed: how === "mutate" || how === "retype"
          })
        }
        return [...sent, ...out]
      }
      return {
        ...connector,
        connect: Effect.map(connector.connect, (connection) => ({
          ...connection,
          send: (frames) => connection.send(frames),
          close: (code, reason) => connection.close(code, reason),
          closed: connection.closed,
          // the encoded transport carries text
          inbound: Stream.mapConcat(
            connection.inbound,
            (frame): ReadonlyArray<string> => (typeof frame === "string" ? carry(frame) : [])
          )
        }))
      } satisfies Connector["Type"]
    })
  )

const pieces = ["one, ", "zwö, ", "三"]

/** What a program does with a client, and what each part of it should come to. */
const parts: Record<
  string,
  { readonly right: unknown; readonly ask: (arcp: ArcpClient["Type"]) => Effect.Effect<unknown, unknown> }
> = {
  inline: {
    right: { count: 3 },
    ask: (arcp) => Effect.flatMap(arcp.submit("counter", { count: 3 }), (job) => job.result)
  },
  streamed: {
    right: pieces.join(""),
    ask: (arcp) => Effect.flatMap(arcp.submit("stream", { chunks: pieces }), (job) => job.result)
  },
  chunks: {
    right: pieces.join(""),
    ask: (arcp) =>
      Effect.flatMap(arcp.submit("stream", { chunks: pieces }), (job) =>
        Effect.map(Stream.runCollect(job.chunks), (chunks) => Chunk.toReadonlyArray(chunks).join(""))
      )
  },
  events: {
    right: ["event 1", "event 2", "event 3"],
    ask: (arcp) =>
      Effect.flatMap(arcp.submit("counter", { count: 3 }), (job) =>
        Effect.map(Stream.runCollect(job.events), (events) =>
          Chunk.toReadonlyArray(events).flatMap((event) => (event._tag === "log" ? [event.body.message] : []))
        )
      )
  },
  listing: { right: 0, ask: (arcp) => Effect.as(Stream.runCollect(arcp.listJobs({ agent: "nobody" })), 0) },
  ping: { right: 0, ask: (arcp) => Effect.as(arcp.ping, 0) },
  cancel: {
    right: "CANCELLED",
    ask: (arcp) =>
      Effect.flatMap(arcp.submit("never"), (job) =>
        Effect.zipRight(
          job.cancel(),
          Effect.catchIf(
            job.result,
            (error) => "code" in error && error.code === "CANCELLED",
            () => Effect.succeed("CANCELLED")
          )
        )
      )
  }
}

describe("a client", () => {
  it.scoped(
    "whose frames are spoilt never fails with a defect, never hangs, and tells no result that is not whole",
    () =>
      Effect.gen(function* () {
        const plans = fc.sample(plan, { numRuns: runs(40), seed: 3 })
        const count = { right: 0, failed: 0, unspoilt: 0 }
        const begin = (plans: ReadonlyArray<Plan>) =>
          Effect.gen(function* () {
            const outer = yield* Effect.context<Connector>()
            const spoilt: Array<Spoilt> = []
            const context = yield* Layer.build(
              ArcpClient.layerNoIds({ auth: { token: Redacted.make("alice-token") }, maxAttempts: 6 }).pipe(
                Layer.provide(through(plans, spoilt)),
                Layer.provide(Layer.succeedContext(outer)),
                Layer.provide(Ids.layer)
              )
              // All wait equally long, so that few movements of the clock wake them all.
            ).pipe(Effect.withRandom(Random.fixed([0.5])))
            const arcp = Context.get(context, ArcpClient)
            const asked = yield* Effect.forEach(Object.entries(parts), ([name, { ask, right }]) =>
              Effect.map(Effect.fork(ask(arcp)), (fiber) => ({ name, right, fiber }))
            )
            return { arcp, asked, spoilt }
          })
        // Many clients at a time share a runtime, and one movement of the clock. Jobs whose cancel was lost stay with it.
        for (let from = 0; from < plans.length; from += 40) {
          yield* Effect.scoped(
            Effect.gen(function* () {
              const clients = yield* Effect.forEach(plans.slice(from, from + 40), begin)
              yield* TestClock.adjust("11 seconds")
              const closing = yield* Effect.fork(
                Effect.forEach(clients, ({ arcp }) => arcp.close, { concurrency: "unbounded", discard: true })
              )
              yield* TestClock.adjust("3 seconds")
              expect(Option.isSome(yield* Fiber.poll(closing))).toBe(true)
              for (const { asked, spoilt } of clients) {
                const told = JSON.stringify(spoilt)
                const valuesMayDiffer = spoilt.some(
                  ({ changed, text, type }) => changed && (type.startsWith("job.") || text.includes('"type":"job.'))
                )
                for (const { fiber, name, right } of asked) {
                  const polled = yield* Fiber.poll(fiber)
                  if (Option.isNone(polled)) return expect.fail(`${name} hangs: ${told}`)
                  const exit = polled.value
                  if (Exit.isSuccess(exit)) {
                    count.right++
                    if (!valuesMayDiffer) expect(exit.value, `${name}: ${told}`).toEqual(right)
                  } else {
                    count.failed++
                    const error = Option.getOrUndefined(Cause.failureOption(exit.cause))
                    const typed = isTyped(error)
                    expect(typed, `${name}: ${Cause.pretty(exit.cause)} ${told}`).toBe(true)
                  }
                  if (spoilt.length === 0)
                    expect(exit, `${name}, though nothing was spoilt`).toMatchObject({ _tag: "Success" })
                }
                if (spoilt.length === 0) count.unspoilt++
              }
            }).pipe(Effect.provide(world()))
          )
        }
        // The fuzzer spoils what matters, and lets pass what should.
        expect(count.failed).toBeGreaterThan(3)
        expect(count.right).toBeGreaterThan(100)
        expect(count.unspoilt).toBeGreaterThan(2)
      })
  )
})
