/** A host over WebSocket whose clients present signed JWTs. */
import { strict as assert } from "node:assert"
import { SignJWT } from "jose"
import { Redacted } from "effect"
import { Authenticator } from "effect-arcp/auth"
import { Jwt } from "effect-arcp/auth/jwt"
import { MemoryStore } from "effect-arcp/store"
import { sizeOf } from "./hosted.mjs"

const secret = "0123456789abcdef0123456789abcdef"
const token = await new SignJWT({})
  .setProtectedHeader({ alg: "HS256" })
  .setIssuer("https://id.example")
  .setSubject("alice")
  .setExpirationTime("1h")
  .sign(new TextEncoder().encode(secret))
const authenticator = Authenticator.layerFirstOf([
  Jwt.jwt({ keys: { secret: Redacted.make(secret) }, algorithms: ["HS256"], issuer: "https://id.example" })
])
assert.match(await sizeOf({ authenticator, store: MemoryStore.layer, token }), /^job_/)
