/** A host over WebSocket, its store in a SQLite file: a second runtime knows the job of the first. */
import { strict as assert } from "node:assert"
import { Authenticator } from "effect-arcp/auth"
import { SqliteStore } from "effect-arcp/store/sqlite"
import { sizeOf } from "./hosted.mjs"

const run = (repeated) =>
  sizeOf({
    repeated,
    authenticator: Authenticator.layerBearer({ secret: "alice" }),
    store: SqliteStore.layer({ filename: "jobs.db" }),
    token: "secret"
  })
const first = await run(false)
assert.equal(await run(true), first)
