/**
 * Uses names of a vendor's own for events, a capability, a feature and a message, beside a peer that does not know them all.
 *
 * It shows: events that an agent declares, decoded at the client; events of any other vendor kind, as data (1.0 §8.2); a vendor's
 * capability in a lease (ARCP 1.1 §9.2); and that a runtime ignores features and messages of vendors that it does not know (§6.2).
 * `arcp serve` grants no vendor's capability unless it is told to, and all doors stay shut.
 */
import { NodeRuntime } from "@effect/platform-node"
import { ArcpClient } from "effect-arcp/client"
import { Connector } from "effect-arcp/transport"
import { Console, Effect, Layer, Redacted, Schema, Stream } from "effect"
import { Doors, DoorsLive } from "./agents.js"
import { claim } from "./support/claim.js"
import { token, transport } from "./support/runtime.js"

/** What this client reads of a frame: its type, and what a welcome says of features. */
const Message = Schema.parseJson(
  Schema.Struct({
    type: Schema.String,
    payload: Schema.Struct({
      capabilities: Schema.optional(Schema.Struct({ features: Schema.optional(Schema.Array(Schema.String)) }))
    })
  })
)

/** A client of one agent, and the runtime that may not grant what it asks for. */
const withAgent = Effect.gen(function* () {
  const arcp = yield* ArcpClient
  const lease = { "x-vendor.demo.door": ["front", "garden.*"] }
  const job = yield* arcp.submit(Doors, { doors: ["front", "garden.gate", "vault"] }, { lease })
  const granted = job.lease["x-vendor.demo.door"] ?? []
  yield* Console.log(`the lease grants the doors ${JSON.stringify(granted)}`)

  const tried = new Map<string, boolean>()
  const others: Array<string> = []
  yield* Stream.runForEach(job.events, (event) => {
    if (event._tag === "x-vendor.demo.tried") {
      tried.set(event.body.door, event.body.opened)
      return Console.log(`  ${event.body.door} ${event.body.opened ? "opens" : "stays shut"}`)
    }
    if (event._tag !== "other") return Effect.void
    others.push(`${event.kind} ${JSON.stringify(event.body)}`)
    return Console.log(`  unknown here: ${others.join()}`)
  })
  const { opened } = yield* job.result

  yield* claim("each declared event came, decoded", tried.size === 3)
  yield* claim(
    "an event of an undeclared kind came as data",
    others.join() === 'x-vendor.demo.weather {"wind":"north"}'
  )
  yield* claim(
    "the vendor's capability holds: what the lease does not grant stays shut",
    opened.length === granted.length && tried.get("vault") === false
  )
})

/** A client that speaks the protocol by hand, with words that the runtime cannot know. */
const byHand = Effect.gen(function* () {
  const { connect } = yield* Connector
  const connection = yield* connect
  const say = (type: string, payload: object) =>
    connection.send([JSON.stringify({ arcp: "1.1", id: type, type, payload })])
  yield* say("session.hello", {
    client: { name: "by-hand", version: "1" },
    auth: { scheme: "bearer", token: Redacted.value(yield* token) },
    capabilities: { features: ["heartbeat", "x-vendor.demo.telepathy"] }
  })
  yield* say("arcpx.demo.greeting.v1", { text: "good morning" })
  yield* say("session.ping", { nonce: "n1" })
  const answers = yield* connection.inbound.pipe(
    Stream.mapEffect(Schema.decodeUnknown(Message)),
    Stream.takeUntil(({ type }) => type === "session.pong"),
    Stream.runCollect
  )
  const [welcome, ...rest] = [...answers]
  const features = welcome?.payload.capabilities?.features ?? []
  yield* Console.log(
    `by hand: negotiated ${JSON.stringify(features)}, then came ${rest.map(({ type }) => type).join()}`
  )

  yield* claim(
    "a feature that the runtime does not know is not negotiated, and harms nothing",
    features.join() === "heartbeat"
  )
  yield* claim("a message of an unknown vendor type is ignored", rest.map(({ type }) => type).join() === "session.pong")
}).pipe(Effect.scoped)

const Network = transport(DoorsLive)
const Live = ArcpClient.layer({ auth: { token } }).pipe(Layer.provideMerge(Network))
NodeRuntime.runMain(Effect.zipRight(withAgent, byHand).pipe(Effect.provide(Live), Effect.timeout("1 minute")))
