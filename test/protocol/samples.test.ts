/** Schemas as a source of messages: what `effect/Arbitrary` makes of each is a message of that type. */
import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Either, FastCheck as fc, Schema } from "effect"
import { Event, Message } from "../../src/protocol/index.js"
import { runs } from "../support/properties.js"

const tables: Readonly<Record<string, Readonly<Record<string, Schema.Schema.Any>>>> = {
  "what clients send": Message.clientMessages,
  "what runtimes send": Message.runtimeMessages,
  "bodies of events": Event.bodies
}

describe.each(Object.entries(tables))("§5 samples of %s", (_name, table) => {
  it.each(Object.keys(table))("%s", (name) => {
    const schema = table[name] as Schema.Schema<unknown, unknown>
    // A refinement that random values do not meet is looked for without end.
    const samples = fc.sample(Arbitrary.make(schema), { numRuns: runs(200), seed: 11 })
    expect(samples.length).toBe(runs(200))
    const decode = Schema.decodeUnknownEither(schema)
    for (const sample of samples) {
      const wire: unknown = JSON.parse(JSON.stringify(Schema.encodeSync(schema)(sample)))
      expect(Either.isRight(decode(wire)), JSON.stringify(wire)).toBe(true)
    }
  })
})
