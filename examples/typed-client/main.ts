/**
 * Drives an agent by a contract that types its input, events, result and errors, and never sends input that does not fit.
 *
 * It shows: `contract.ts`, which the client and the runtime (`../agents.ts`) both import. Values are checked and converted by its
 * Schemas on both sides of the wire, and the agent's own error arrives as the class that the agent failed with.
 */
import { NodeRuntime } from "@effect/platform-node"
import { ArcpClient } from "effect-arcp/client"
import { FaultyTransport } from "effect-arcp/testing"
import { Console, DateTime, Effect, Layer, Stream } from "effect"
import { ShipLive } from "../agents.js"
import { claim } from "../support/claim.js"
import { token, transport } from "../support/runtime.js"
import { Ship, TooHeavy } from "./contract.js"

const leaves = DateTime.unsafeMake("2030-05-01T08:00:00Z")

const program = Effect.gen(function* () {
  const arcp = yield* ArcpClient
  const network = yield* FaultyTransport.Faults
  yield* arcp.connected

  // a type does not say that a weight is positive; the Schema does
  const sentBefore = (yield* network.counts).outbound
  const wrong = yield* Effect.flip(arcp.submit(Ship, { leaves, parcels: [{ to: "Lima", kilos: -1 }] }))
  const sent = (yield* network.counts).outbound - sentBefore
  yield* Console.log(`wrong input: ${wrong._tag}, ${wrong.message}; ${sent} frames sent\n`)

  const job = yield* arcp.submit(Ship, {
    leaves,
    parcels: [
      { to: "Lima", kilos: 2.5 },
      { to: "Oslo", kilos: 12 }
    ]
  })
  let packed = 0
  yield* Stream.runForEach(job.events, (event) => {
    if (event._tag !== "x-vendor.demo.packed") return Effect.void
    packed += event.body.kilos
    return Console.log(`packed for ${event.body.to}: ${event.body.kilos} kg`)
  })
  const { arrives } = yield* job.result
  yield* Console.log(`arrives at ${DateTime.formatIso(arrives)}\n`)

  const heavy = yield* arcp.submit(Ship, { leaves, parcels: [{ to: "Rome", kilos: 31 }] })
  const refused = yield* heavy.result.pipe(
    Effect.as(undefined),
    // the compiler knows this tag, and the fields of the error
    Effect.catchTag("TooHeavy", (error) =>
      Effect.as(Console.log(`too heavy for ${error.to}: ${error.kilos} of ${error.limit} kg\n`), error)
    )
  )

  yield* claim(
    "wrong input was rejected by its name, and nothing was sent",
    wrong._tag === "InvalidRequest" && wrong.message.includes("kilos") && sent === 0
  )
  yield* claim("the agent's events came typed", packed === 14.5)
  yield* claim("the result is a time, a day later", DateTime.distance(leaves, arrives) === 86_400_000)
  yield* claim("the agent's error came as its class", refused instanceof TooHeavy && refused.kilos === 31)
})

const Live = ArcpClient.layer({ auth: { token } }).pipe(
  // only counts what is sent
  Layer.provideMerge(FaultyTransport.layer),
  Layer.provide(transport(ShipLive))
)
NodeRuntime.runMain(program.pipe(Effect.provide(Live), Effect.timeout("1 minute")))
