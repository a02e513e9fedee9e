/**
 * What the runtime's log has in memory, as plain data that a test can keep and compare.
 *
 * State that is not durable is left out: the queues of emitters, the connection, and when the peer was last heard.
 */
import { expect } from "@effect/vitest"
import { Effect, type Scope } from "effect"
import { isDeepStrictEqual } from "node:util"
// The one place that names the log's classes for these tests.
import { Batch } from "../../src/runtime/log/Batch.js"
import { JobLog } from "../../src/runtime/log/JobLog.js"
import { Outbox } from "../../src/runtime/log/Outbox.js"
import { SessionLog } from "../../src/runtime/log/SessionLog.js"

export { Batch, JobLog, Outbox, SessionLog }

const passing: ReadonlyArray<readonly [kind: new (...args: never) => object, fields: ReadonlyArray<string>]> = [
  [SessionLog, ["connectedBy", "seenAt", "lastSpoke", "kind", "gone"]],
  [JobLog, ["record", "waitingEvents", "waitingChars", "waiters", "closed", "ordered"]]
]

/** Sets that are made when there is something in them, and stay. */
const lazy: ReadonlySet<string> = new Set(["owns", "observes"])

const leftOut = (value: object): ReadonlyArray<string> => {
  const fields = passing.find(([kind]) => value instanceof kind)?.[1] ?? []
  if (value instanceof SessionLog)
    for (const field of lazy) if (!Object.hasOwn(value, field)) throw new Error(`there is no field ${field}`)
  for (const field of fields) {
    if (!Object.hasOwn(value, field)) throw new Error(`there is no field ${field}: name the field that replaced it`)
  }
  return fields
}

const byText = (items: ReadonlyArray<unknown>): ReadonlyArray<unknown> =>
  items
    .map((item) => [JSON.stringify(item), item] as const)
    .toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
    .map(([, item]) => item)

/** As `expect(found).toStrictEqual(wanted)`, which is slow for large values that are equal. */
export const same = (found: unknown, wanted: unknown): void => {
  if (!isDeepStrictEqual(found, wanted)) expect(found).toStrictEqual(wanted)
}

/** Connections have no id: each is named by when it was first seen. */
export class Copies {
  private readonly names = new Map<object, string>()

  /** Gives a connection its name. */
  name(link: Outbox): string {
    let name = this.names.get(link)
    if (name === undefined) {
      name = `connection ${this.names.size}`
      this.names.set(link, name)
    }
    return name
  }

  /** A deep copy; a session or a job within another is its id, and the order of sets and maps does not count. */
  of(value: unknown, top = true): unknown {
    if (typeof value === "function") return "function"
    if (typeof value !== "object" || value === null) return value
    if (value instanceof Outbox) return this.name(value)
    if (!top && value instanceof SessionLog) return value.sessionId
    if (!top && value instanceof JobLog) return value.jobId
    if (Array.isArray(value)) return value.map((item) => this.of(item, false))
    if (value instanceof Set) return byText([...value].map((item) => this.of(item, false)))
    if (value instanceof Map) return byText([...value].map((entry) => this.of(entry, false)))
    const without = leftOut(value)
    return Object.fromEntries(
      Object.entries(value)
        .filter(([field]) => !without.includes(field))
        .map(([field, item]) => [field, this.of(item ?? (lazy.has(field) ? new Set() : item), false)])
    )
  }

  /** Copies of several sessions and jobs, by id. */
  all(owners: Iterable<SessionLog | JobLog>): Readonly<Record<string, unknown>> {
    return Object.fromEntries(
      Array.from(owners, (owner) => [owner instanceof SessionLog ? owner.sessionId : owner.jobId, this.of(owner)])
    )
  }
}

/** These sessions, the jobs that they own or observe, and the sessions of those. */
export const reached = (from: Iterable<SessionLog | undefined>): ReadonlyArray<SessionLog | JobLog> => {
  const found = new Set<SessionLog | JobLog>()
  const look = (owner: SessionLog | JobLog): void => {
    if (found.has(owner)) return
    found.add(owner)
    if (owner instanceof SessionLog) {
      for (const job of [...owner.owned, ...owner.observed]) if (job instanceof JobLog) look(job)
    } else for (const { session } of owner.attachments.values()) look(session)
  }
  for (const session of from) if (session !== undefined) look(session)
  return [...found]
}

/** A batch that was undone. */
export interface Undone {
  /** The methods that were called, in order. */
  readonly calls: ReadonlyArray<string>
  readonly before: unknown
  readonly after: unknown
}

/**
 * Records the batches of this process that are undone, until the scope closes: the state before the first call of the batch, and the state
 * after it was undone. `owners` returns the sessions and jobs whose state is recorded.
 */
export const watchBatches = (
  copies: Copies,
  owners: () => ReadonlyArray<SessionLog | JobLog>
): Effect.Effect<ReadonlyArray<Undone>, never, Scope.Scope> =>
  Effect.gen(function* () {
    const undone: Array<Undone> = []
    const open = new WeakMap<
      object,
      { readonly of: ReadonlyArray<SessionLog | JobLog>; readonly before: unknown; readonly calls: Array<string> }
    >()
    const methods = Batch.prototype as unknown as Record<string, (...args: ReadonlyArray<unknown>) => unknown>
    const originals = Object.entries(Object.getOwnPropertyDescriptors(Batch.prototype)).filter(
      ([name, { value }]) => typeof value === "function" && name !== "constructor"
    )
    for (const [name, { value }] of originals) {
      methods[name] = function (this: object, ...args) {
        let batch = open.get(this)
        if (batch === undefined) {
          const of = owners()
          batch = { of, before: copies.all(of), calls: [] }
          open.set(this, batch)
        }
        batch.calls.push(name)
        const answer: unknown = Reflect.apply(value as () => unknown, this, args)
        if (name === "revert") undone.push({ calls: batch.calls, before: batch.before, after: copies.all(batch.of) })
        return answer
      }
    }
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        for (const [name, descriptor] of originals) Object.defineProperty(Batch.prototype, name, descriptor)
      })
    )
    return undone
  })
