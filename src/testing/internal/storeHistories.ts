/** Random histories of a store, and what it answers after each. */
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import { type Batch, type Delivery, Store, type StoreError } from "../../store/Store.js"
import { sessionRecord } from "./rows.js"
import { commit, delivery, everyJob, job, lastSeqs, segment, state } from "./storeBatches.js"

/** One step of a history. */
export interface Step {
  readonly job: number
  readonly events: number
  readonly session: number
  readonly act: "emit" | "end" | "trim" | "own" | "disown" | "leave" | "remove" | "purge"
  /** How the events that are emitted are cut and given. */
  readonly shape: "one" | "two segments" | "long" | "observed" | "given in two" | "given later"
}

/** Histories of four jobs and two sessions. */
export const histories = FastCheck.array(
  FastCheck.record({
    job: FastCheck.integer({ min: 0, max: 3 }),
    events: FastCheck.integer({ min: 1, max: 5 }),
    session: FastCheck.integer({ min: 0, max: 1 }),
    act: FastCheck.constantFrom(
      "emit",
      "emit",
      "emit",
      "end",
      "trim",
      "own",
      "own",
      "disown",
      "leave",
      "remove",
      "purge"
    ),
    shape: FastCheck.constantFrom("one", "one", "two segments", "long", "observed", "given in two", "given later")
  }),
  { maxLength: 40 }
) as FastCheck.Arbitrary<ReadonlyArray<Step>>

const fourJobs = [0, 1, 2, 3]

/** The events `from..to` of a job, in one segment or two. */
const cut = (jobId: string, from: number, to: number, shape: Step["shape"]) => {
  const middle = shape === "two segments" && to > from ? from : to
  const parts =
    middle === to ? [segment(jobId, from, to)] : [segment(jobId, from, middle), segment(jobId, middle + 1, to)]
  return shape === "long"
    ? parts.map((part) => ({ ...part, payloads: part.payloads.map(() => `{"x":"${"x".repeat(3_000)}"}`) }))
    : parts
}

/** A change, or the purge. */
export type Act = Partial<Batch> | "purge"

/** The acts of one history. A removed job is not named again. */
export const actsOf = (steps: ReadonlyArray<Step>): ReadonlyArray<Act> => {
  const next = new Map<number, number>()
  const removed = new Set<number>()
  const seqs = [0, 0]
  const acts: Array<Act> = [
    {
      sessions: [sessionRecord("s0"), sessionRecord("s1")],
      jobs: fourJobs.map((i) => job(`j${i}`)),
      jobStates: fourJobs.map((i) => state(`j${i}`))
    }
  ]
  /** Gives a session the events of a job from one on, under its next numbers. */
  const give = (session: number, jobId: string, from: number, to: number) => {
    const first = seqs[session]! + 1
    seqs[session] = first + (to - from)
    return delivery(`s${session}`, jobId, first, seqs[session], from)
  }
  for (const { act, events, job: place, session, shape } of steps) {
    const jobId = `j${place}`
    const owner = { sessionId: `owner ${events}`, jobId }
    const at = next.get(place) ?? 0
    if (act === "purge") acts.push("purge")
    else if (removed.has(place)) continue
    else if (act === "remove") {
      removed.add(place)
      acts.push({ jobsRemoved: [jobId] })
    } else if (act === "end") acts.push({ jobStates: [state(jobId, { status: "success", endedAt: acts.length })] })
    else if (act === "trim") acts.push({ trims: [{ jobId, upTo: at - 1 }] })
    else if (act === "own") acts.push({ owners: [owner] })
    else if (act === "disown") acts.push({ ownersRemoved: [owner] })
    else if (act === "leave") acts.push({ sessionsRemoved: [owner.sessionId] })
    else {
      const [from, to] = [at + 1, at + events]
      next.set(place, to)
      const segments = cut(jobId, from, to, shape)
      const half = shape === "given in two" && to > from ? from : to
      const given = [give(session, jobId, from, half), ...(half < to ? [give(session, jobId, half + 1, to)] : [])]
      if (shape === "observed") given.push(give(1 - session, jobId, from, to))
      acts.push(
        ...(shape === "given later" ? [{ segments }, { deliveries: given }] : [{ segments, deliveries: given }])
      )
    }
  }
  return acts
}

/** The number behind which deliveries are read. */
const after = 2

type Named = readonly [seq: number, jobId: string, jobSeq: number]

/** Which event of which job each number of a session is. Deliveries may be joined in one store and not in another. */
const numbered = (given: ReadonlyArray<Delivery>): ReadonlyArray<Named> =>
  given.flatMap(({ firstJobSeq, firstSeq, jobId, lastSeq }) =>
    Array.from({ length: lastSeq - firstSeq + 1 }, (_, i): Named => [firstSeq + i, jobId, firstJobSeq + i])
  )

/** Those behind what was trimmed: of what was, a store may keep a delivery that is joined with later ones. */
const untrimmed = (acts: ReadonlyArray<Act>) => {
  const upTo: Record<string, number> = {}
  for (const act of acts) {
    if (act !== "purge")
      for (const trim of act.trims ?? []) upTo[trim.jobId] = Math.max(upTo[trim.jobId] ?? 0, trim.upTo)
  }
  return (given: ReadonlyArray<Delivery>) =>
    numbered(given).filter(([seq, jobId, jobSeq]) => seq > after && jobSeq > (upTo[jobId] ?? 0))
}

/** What a store returns after these acts. */
export const readAfter = (acts: ReadonlyArray<Act>) =>
  Effect.gen(function* () {
    const store = yield* Store
    for (const act of acts) yield* act === "purge" ? store.purge : commit(act)
    const ofJobs = <A>(read: (jobId: string) => Effect.Effect<A, StoreError>) =>
      Effect.forEach(fourJobs, (i) => read(`j${i}`))
    const there = untrimmed(acts)
    const recovered = yield* store.recover
    return {
      segments: yield* ofJobs((jobId) => store.segments(jobId, 2, 7, 1e6)),
      given: yield* Effect.forEach(["s0", "s1"], (id) => Effect.map(store.deliveries(id, after, 1_000), there)),
      givenOfJobs: yield* ofJobs((jobId) => Effect.map(store.deliveriesOfJob("s0", jobId), there)),
      givenTo: yield* ofJobs((jobId) => Effect.map(store.deliveredTo(jobId), lastSeqs)),
      sessions: lastSeqs(recovered.sessions),
      recovered: recovered.jobs,
      owners: (yield* store.jobs(everyJob)).map(({ otherOwners, record }) => [record.jobId, ...otherOwners]),
      ended: (yield* store.expiredJobs({ endedBefore: 1e9, maxJobs: 0, maxBytes: 0 }, 100)).toSorted()
    }
  })
