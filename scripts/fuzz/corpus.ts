/**
 * What frames are made of: samples of the Schemas of the protocol, message by message and body by body. A message that the protocol gets
 * is sent, with every field of its Schema, without an edit here.
 */
import { Arbitrary, FastCheck as fc, Schema } from "effect"
import { Event, Message } from "effect-arcp/protocol"

/** JSON texts by name. */
type Samples = ReadonlyMap<string, ReadonlyArray<string>>

/** Payloads by the type of their message, and bodies of events by kind. */
export interface Corpus {
  readonly client: Samples
  readonly runtime: Samples
  readonly bodies: Samples
}

/** How many samples there are of each Schema at a time. */
const perSchema = 48

const arbitraries = (table: Readonly<Record<string, Schema.Schema.Any>>) =>
  Object.entries(table).map(([name, any]) => {
    const schema = any as Schema.Schema<unknown, unknown>
    return { name, arbitrary: Arbitrary.make(schema), encode: Schema.encodeSync(schema) }
  })

const tables = {
  client: arbitraries(Message.clientMessages),
  runtime: arbitraries(Message.runtimeMessages),
  bodies: arbitraries(Event.bodies)
}

const sampled = (table: (typeof tables)["client"], seed: number): Samples =>
  new Map(
    table.map(({ arbitrary, encode, name }) => [
      name,
      fc.sample(arbitrary, { numRuns: perSchema, seed }).map((value) => JSON.stringify(encode(value)))
    ])
  )

let made: readonly [seed: number, corpus: Corpus] | undefined

/** The samples of a seed. Those of the last one are kept: making them takes a second. */
export const corpusOf = (seed: number): Corpus => {
  if (made?.[0] !== seed) {
    const { bodies, client, runtime } = tables
    made = [seed, { client: sampled(client, seed), runtime: sampled(runtime, seed), bodies: sampled(bodies, seed) }]
  }
  return made[1]
}

/** The types of messages that clients send. */
export const clientTypes: ReadonlyArray<string> = Object.keys(Message.clientMessages)

/** The types of messages that runtimes send. */
export const runtimeTypes: ReadonlyArray<string> = Object.keys(Message.runtimeMessages)

/** The kinds of events. */
export const eventKinds: ReadonlyArray<string> = Object.keys(Event.bodies)
