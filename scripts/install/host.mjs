/** A host over WebSocket, its store in memory. */
import { strict as assert } from "node:assert"
import { Authenticator } from "effect-arcp/auth"
import { MemoryStore } from "effect-arcp/store"
import { sizeOf } from "./hosted.mjs"

const authenticator = Authenticator.layerBearer({ secret: "alice" })
assert.match(await sizeOf({ authenticator, store: MemoryStore.layer, token: "secret" }), /^job_/)
