import { Effect, Layer } from "effect"
import { type CommitNow, commitNowOf } from "../../src/store/CommitNow.js"
import { type Batch, Store, StoreError } from "../../src/store/index.js"

/** The form of a store's commit that is one step. */
export const atOnceOf = (store: typeof Store.Service): CommitNow => {
  const now = commitNowOf(store.commit)
  if (now === undefined) throw new Error("this store has no commit in one step")
  return now
}

const turns = 1_000
const nextTurn = Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))

/** Commits in one step, in a later turn of the event loop where the store is busy; fails where it stays so. */
export const commitAtOnce = (store: typeof Store.Service) => (batch: Batch) =>
  Effect.gen(function* () {
    const now = atOnceOf(store)
    for (let turn = 0; turn < turns; turn++) {
      const outcome = now(batch)
      if (outcome === undefined) return
      if (outcome !== "busy") return yield* outcome
      yield* nextTurn
    }
    return yield* new StoreError({ operation: "commit", message: `the store was busy for ${turns} turns` })
  })

/** A store whose `commit` is that form. */
export const atOnce = <E>(layer: Layer.Layer<Store, E>): Layer.Layer<Store, E> =>
  Layer.effect(
    Store,
    Effect.map(Store, (store) => ({ ...store, commit: commitAtOnce(store) }))
  ).pipe(Layer.provide(layer))
