/**
 * Stores that can commit in the step in which they are asked to.
 *
 * Responsibility: a way past the fiber of `commit` for a writer that is no fiber. It is the store's own `commit` in another form: the same
 * batch, the same rows, the same errors. Large payloads may come as bytes.
 *
 * Order: what is called belongs to one `commit` function. Code that puts another in its place (a decorator, a tracer, the faults of a test)
 * is not bypassed, since the new function has no such form.
 */
import type { LoadedBatch } from "./Payload.js"
import type { StoreError } from "./Store.js"

/**
 * Writes a batch, all or nothing, before it returns. Undefined where the batch is committed; a `StoreError` where nothing of it is there;
 * `busy` where another operation is inside a transaction: nothing was done, and the caller is to try again in a later turn of the event
 * loop. Never throws.
 */
export type CommitNow = (batch: LoadedBatch) => StoreError | "busy" | undefined

const forms = new WeakMap<object, CommitNow>()

/** Says that a store's `commit` can also be had as `now`. Returns `commit`. */
export const committingNow = <C extends object>(commit: C, now: CommitNow): C => {
  forms.set(commit, now)
  return commit
}

/** The form of a store's `commit` that is one step; undefined where it has none. */
export const commitNowOf = (commit: object): CommitNow | undefined => forms.get(commit)
