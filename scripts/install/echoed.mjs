/** A client of `arcp serve --demo`: submits a job to its echo agent. */
import { strict as assert } from "node:assert"
import { Effect, Schema } from "effect"
import { Agent } from "effect-arcp/agent"
import { ArcpClient } from "effect-arcp/client"

class Echo extends Agent.make("echo", { input: Schema.Unknown, output: Schema.Unknown }) {}

/** Over this transport. */
export const echoed = async (transport) => {
  const result = await Effect.gen(function* () {
    const client = yield* ArcpClient
    return yield* (yield* client.submit(Echo, { said: "hello" })).result
  }).pipe(Effect.provide(ArcpClient.layer({})), Effect.provide(transport), Effect.scoped, Effect.runPromise)
  assert.deepEqual(result, { said: "hello" })
}
