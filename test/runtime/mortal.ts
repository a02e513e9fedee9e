/** Runtimes that die as `kill -9` ends them, and start again on the same store, in one process. */
import { Context, Effect, Exit, Layer, Scope } from "effect"
import type { Authenticator } from "../../src/auth/index.js"
import type { LimitsShape } from "../../src/runtime/index.js"
import { MemoryStore } from "../../src/store/index.js"
import { SqliteStore } from "../../src/store/sqlite.js"
import { Store, StoreError } from "../../src/store/Store.js"
import { hello, type Peer } from "./peer.js"
import { world } from "./world.js"

export const stores = [
  ["memory", () => MemoryStore.layer],
  ["SQLite", () => SqliteStore.layer({ filename: ":memory:" })]
] as const

/** A store that outlives its runtimes; `die` ends the present one as `kill -9` does: it commits nothing any more. */
export const makeStore = (layer: Layer.Layer<Store, unknown>) =>
  Effect.gen(function* () {
    const store = Context.get(yield* Layer.build(layer), Store)
    let process = { dead: false }
    return {
      store,
      die: Effect.sync(() => {
        process.dead = true
        process = { dead: false }
      }),
      layer: Layer.sync(Store, () => {
        const mine = process
        return {
          ...store,
          commit: (batch) =>
            mine.dead
              ? Effect.fail(new StoreError({ operation: "commit", message: "this process is dead" }))
              : store.commit(batch)
        }
      })
    }
  })

/** A store as the next process opens it: the rows are the same, the instance is its own, as a file's handle would be. */
export const reopened = (store: Context.Tag.Service<Store>): Layer.Layer<Store> =>
  Layer.sync(Store, () => ({ ...store }))

/** {@link reopened}, for everything that a database holds. */
export const reopenedAll = <A>(built: Context.Context<A>): Layer.Layer<A> =>
  Layer.effectContext(
    Effect.sync(() =>
      Context.unsafeMake<A>(new Map([...built.unsafeMap].map(([key, service]) => [key, { ...(service as object) }])))
    )
  )

export const start = (
  store: Layer.Layer<Store>,
  agents?: Layer.Layer<never>,
  limits: Partial<LimitsShape> = {},
  auth?: Layer.Layer<Authenticator>
) =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    yield* Effect.addFinalizer(() => Effect.forkDaemon(Scope.close(scope, Exit.void)))
    return yield* Scope.extend(
      Layer.build(
        world({ store, limits, ...(agents === undefined ? {} : { agents }), ...(auth === undefined ? {} : { auth }) })
      ),
      scope
    )
  })

/** The session goes on where its client was. */
export const resumed = (peer: Peer & { readonly sessionId: string; readonly token: string }) =>
  hello({
    resume: { session_id: peer.sessionId, resume_token: peer.token, last_event_seq: peer.events().length }
  })
