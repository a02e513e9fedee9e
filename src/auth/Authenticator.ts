/** Deciding who a client is from what its hello presents (ARCP 1.1 §6.1). */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { createHash, timingSafeEqual } from "node:crypto"
import { Unauthenticated } from "../protocol/Errors.js"
import type { Principal } from "./Principal.js"

export interface AuthRequest {
  readonly scheme: string | undefined
  readonly token: Redacted.Redacted<string> | undefined
  readonly peer: { readonly transport: string; readonly secure: boolean; readonly remoteAddress?: string | undefined }
}

export class Authenticator extends Context.Tag("effect-arcp/auth/Authenticator")<
  Authenticator,
  {
    readonly authenticate: (request: AuthRequest) => Effect.Effect<Principal, Unauthenticated>
  }
>() {
  static readonly layerBearer = (table: Readonly<Record<string, string>>): Layer.Layer<Authenticator> =>
    Layer.sync(Authenticator, () => {
      const digest = (t: string) => createHash("sha256").update(t).digest()
      const entries = Object.entries(table).map(([token, id]) => ({ digest: digest(token), id }))
      return {
        authenticate: ({ token }) =>
          Effect.suspend(() => {
            if (token === undefined) return Effect.fail(new Unauthenticated({ message: "auth.token: is missing" }))
            const d = digest(Redacted.value(token))
            let found: string | undefined
            for (const entry of entries) if (timingSafeEqual(entry.digest, d)) found = entry.id
            return found === undefined
              ? Effect.fail(new Unauthenticated({ message: "auth.token: is not valid" }))
              : Effect.succeed({ id: found, anonymous: false, claims: {} })
          })
      }
    })
}
