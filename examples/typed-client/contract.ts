/** The contract of the agent `ship`: the runtime that hosts it and the clients that use it both import this file. */
import { Agent } from "effect-arcp/agent"
import * as Schema from "effect/Schema"

/** A parcel that is too heavy: the agent's own error. */
export class TooHeavy extends Schema.TaggedError<TooHeavy>()("TooHeavy", {
  to: Schema.String,
  kilos: Schema.Number,
  limit: Schema.Number
}) {}

const Parcel = Schema.Struct({ to: Schema.NonEmptyString, kilos: Schema.Positive })

/** Packs parcels, and says when they arrive. Times are Effect's `DateTime` in a program, and ISO 8601 on the wire. */
export class Ship extends Agent.make("ship", {
  version: "1.0.0",
  input: Schema.Struct({ parcels: Schema.NonEmptyArray(Parcel), leaves: Schema.DateTimeUtc }),
  output: Schema.Struct({ arrives: Schema.DateTimeUtc }),
  error: TooHeavy,
  events: { "x-vendor.demo.packed": Parcel }
}) {}
