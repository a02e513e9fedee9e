/** What a browser loads, with nothing of Node's installed: a contract, a lease, and a client that goes to a WebSocket. */
import { strict as assert } from "node:assert"
import { Effect, Either, Schema } from "effect"
import { Agent } from "effect-arcp/agent"
import { Lease } from "effect-arcp/authority"
import { ArcpClient } from "effect-arcp/client"
import { Features } from "effect-arcp/protocol"
import { WebSocketGlobal } from "effect-arcp/transport"

class Echo extends Agent.make("echo", { input: Schema.Unknown, output: Schema.Unknown }) {}

// A WebSocket that refuses: the client gets as far as a browser's would.
class Refusing {
  readyState = 0
  onopen = null
  onmessage = null
  onerror = null
  onclose = null
  constructor(url) {
    Refusing.asked = url
    queueMicrotask(() => {
      this.readyState = 3
      this.onerror?.(new Event("error"))
      this.onclose?.({ code: 1006, reason: "" })
    })
  }
  send() {}
  close() {}
}
globalThis.WebSocket = Refusing

assert.equal(typeof Features, "object")
assert.ok(Either.isRight(Lease.compile({ "fs.read": ["/data/**"] })))
const ended = await Effect.gen(function* () {
  const client = yield* ArcpClient
  return yield* Effect.flip(Effect.flatMap(client.submit(Echo, 1), (job) => job.result))
}).pipe(
  Effect.provide(ArcpClient.layer({ maxAttempts: 1 })),
  Effect.provide(WebSocketGlobal.layer({ url: "ws://127.0.0.1:9/arcp" })),
  Effect.scoped,
  Effect.runPromise
)
assert.equal(Refusing.asked, "ws://127.0.0.1:9/arcp")
assert.equal(ended._tag, "SessionEnded")
