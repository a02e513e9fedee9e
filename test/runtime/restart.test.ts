/**
 * What a kill of the runtime leaves as it was: keys, listings, observers, budgets and numbers (ARCP 1.1 §6.6, §7.2, §7.6,
 * §8.3, §9.6).
 */
import { beforeEach, describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Layer, TestClock } from "effect"
import { Agent, Job } from "../../src/agent/index.js"
import { ask, type Client, connect, echo, hears, machine, numbers, open, resume, upFrom, waiting } from "./machine.js"
import { barrier, eventsOf, type Frame, type Peer, submit } from "./peer.js"
import { gate, resetGates } from "./world.js"

beforeEach(resetGates)

/** A reply's payload but for the request that it answers. */
const said = ({ payload: { request_id: _, ...rest } }: Frame) => rest

const listing = (peer: Peer, request: object = {}) =>
  Effect.map(
    ask(peer, "session.list_jobs", request),
    ({ payload: { jobs, next_cursor } }): Listing => ({ jobs, next_cursor })
  )

interface Listing {
  readonly jobs: ReadonlyArray<{
    readonly job_id: string
    readonly status: string
    readonly last_event_seq: number
    readonly budget?: object
  }>
  readonly next_cursor: string | null
}

/** What an event says, whoever is sent it under whatever number. */
const content = ({ job_id, payload, type }: Frame) => ({ job_id, payload, type })

describe("§7.2 after a kill an idempotency key", () => {
  it.scoped("is that of its job, whatever became of it; with other parameters it is refused as before", () =>
    Effect.gen(function* () {
      const started: Array<string> = []
      const { start } = machine(
        Layer.mergeAll(
          echo,
          waiting("once", {}, started),
          waiting("again", { onRestart: "rerun" }, started),
          waiting("single", { onRestart: "rerun", maxRunning: 1 }, started)
        )
      )
      const keyed = (peer: Peer, [key, agent, input]: readonly [string, string, number], more: object = {}) =>
        submit(peer, agent, input, { idempotency_key: key, max_runtime_sec: 1_000, ...more })
      const jobs = [
        ["ended", "echo", 1],
        ["fails", "once", 1],
        ["again", "again", 1],
        ["runs", "single", 1],
        ["waits", "single", 2]
      ] as const
      const conflicts = [{ input: 3 }, { max_runtime_sec: 1_001 }, { agent: "nobody" }, { lease_request: { a: ["b"] } }]
      const first = yield* start
      const alice = yield* connect(first)
      const accepted: Array<Frame> = []
      const refused: Array<object> = []
      for (const job of jobs) {
        accepted.push(yield* keyed(alice, job))
        for (const conflict of conflicts) refused.push(said(yield* keyed(alice, job, conflict)))
      }
      yield* alice.terminal(accepted[0]!.job_id!)
      yield* hears(alice, "single 1")
      const ids = (yield* listing(alice)).jobs.map(({ job_id }) => job_id)
      expect(ids).toEqual(accepted.map(({ job_id }) => job_id))

      const second = yield* start
      const other = yield* connect(second)
      const refusedAgain: Array<object> = []
      for (const [i, job] of jobs.entries()) {
        const again = yield* keyed(other, job)
        expect([again.type, again.job_id, said(again)]).toEqual(["job.accepted", ids[i], said(accepted[i]!)])
        for (const conflict of conflicts) refusedAgain.push(said(yield* keyed(other, job, conflict)))
      }
      expect(refusedAgain).toEqual(refused)
      expect(refused).toContainEqual(expect.objectContaining({ code: "DUPLICATE_KEY", retryable: false }))
      expect((yield* listing(other)).jobs.map(({ job_id }) => job_id)).toEqual(ids)
      // A key is its principal's: bob's is free.
      const bob = yield* connect(second, "bob-token")
      expect(ids).not.toContain((yield* keyed(bob, jobs[0])).job_id)
      // Who asked last owns the jobs and is told their ends; nothing ran but what the kill had left to run.
      for (const name of ["again 2", "single 2", "single 1"]) yield* open(name)
      const ends: Array<Frame["payload"]> = []
      for (const id of ids) ends.push((yield* other.terminal(id)).payload)
      expect(ends.map(({ code, result }) => code ?? result)).toEqual([1, "INTERNAL_ERROR", 2, 2, 1])
      expect(ends[1]).toMatchObject({ details: { reason: "runtime_restarted" } })
      expect(started).toEqual(["once 1 1", "again 1 1", "single 1 1", "again 1 2", "single 1 2", "single 2 1"])
    })
  )

  it.scoped("lasts as long as it would have: its time goes on, and does not begin anew", () =>
    Effect.gen(function* () {
      const { start } = machine(echo, { keyLifetime: 60_000, sweepEvery: 86_400_000 })
      const first = yield* connect(yield* start)
      const keyed = (peer: Peer) => Effect.map(submit(peer, "echo", 1, { idempotency_key: "k" }), (f) => f.job_id!)
      const job = yield* keyed(first)
      yield* first.terminal(job)
      yield* TestClock.adjust("30 seconds")
      const second = yield* connect(yield* start)
      yield* TestClock.adjust(29_999)
      expect(yield* keyed(second)).toBe(job)
      yield* TestClock.adjust(1)
      expect(yield* keyed(second)).not.toBe(job)
    })
  )
})

describe("§6.6 after a kill the listing", () => {
  it.scoped("is as it was: order, status, numbers, filters; a page that was begun before goes on", () =>
    Effect.gen(function* () {
      const { start } = machine(
        Layer.mergeAll(
          echo,
          Agent.untyped("fail", () => Effect.dieMessage("broken")),
          waiting("never", { onRestart: "rerun" }),
          waiting("once"),
          waiting("single", { onRestart: "rerun", maxRunning: 1 })
        )
      )
      const first = yield* start
      const alice = yield* connect(first)
      const bob = yield* connect(first, "bob-token")
      yield* submit(bob, "never")
      const ids: Array<string> = []
      for (const [agent, more] of [
        ["echo"],
        ["fail"],
        ["never"],
        ["never"],
        ["never", { max_runtime_sec: 1 }],
        ["once"],
        ["single"],
        ["single"]
      ] as const) {
        ids.push((yield* submit(alice, agent, 1, more ?? {})).job_id!)
      }
      yield* ask(alice, "job.cancel", { job_id: ids[3] })
      yield* alice.terminal(ids[3]!)
      yield* TestClock.adjust("1 second")
      yield* alice.terminal(ids[4]!)
      yield* barrier(alice)
      const before = yield* listing(alice)
      const statuses = ["success", "error", "running", "cancelled", "timed_out", "running", "running", "pending"]
      expect(before.jobs.map(({ job_id, status }) => [job_id, status])).toEqual(ids.map((id, i) => [id, statuses[i]]))
      const page = yield* listing(alice, { limit: 3 })
      expect(page.jobs).toEqual(before.jobs.slice(0, 3))

      const second = yield* start
      const back = yield* resume(second, alice, alice.events().length)
      yield* hears(back, "single 2")
      yield* barrier(back)
      const after = yield* listing(back)
      // The one that runs once has ended; those that run again say so; all else is as it was.
      const last = (id: string) =>
        Math.max(0, ...[...eventsOf(alice, id), ...eventsOf(back, id)].map(({ event_seq }) => event_seq!))
      expect(after.jobs).toEqual(
        before.jobs.map((job, i) => ({
          ...job,
          status: i === 5 ? "error" : job.status,
          last_event_seq: last(job.job_id)
        }))
      )
      expect(
        back
          .events()
          .map(({ job_id }) => ids.indexOf(job_id!))
          .sort()
      ).toEqual([2, 2, 5, 6, 6])
      const pages = [...page.jobs]
      for (let cursor = page.next_cursor; cursor !== null; ) {
        const next = yield* listing(back, { limit: 3, cursor })
        pages.push(...next.jobs)
        cursor = next.next_cursor
      }
      expect(pages.map(({ job_id }) => job_id)).toEqual(ids)
      expect(pages.slice(3)).toEqual(after.jobs.slice(3))
      for (const status of new Set(statuses)) {
        const filtered = yield* listing(back, { filter: { status: [status] } })
        expect(filtered.jobs).toEqual(after.jobs.filter((job) => job.status === status))
      }
      const bobs = yield* listing(yield* connect(second, "bob-token"))
      expect(bobs.jobs.map(({ status }) => status)).toEqual(["running"])
    })
  )
})

describe("§7.6 after a kill an observer", () => {
  it.scoped("goes on where it was, without gap or repeat: with history, without, and who was away or has left", () =>
    Effect.gen(function* () {
      const logs = (attempt: number, part: string) =>
        Effect.forEach([1, 2, 3], (n) => Job.log(`${attempt}${part}${n}`), { discard: true })
      const { start } = machine(
        Agent.untyped(
          "narrator",
          () =>
            Effect.gen(function* () {
              const { attempt } = yield* Job
              yield* logs(attempt, "a")
              yield* Deferred.await(gate(`narrator ${attempt}`))
              yield* logs(attempt, "b")
              yield* Deferred.await(gate(`narrator ${attempt} ends`))
              return attempt
            }),
          { onRestart: "rerun" }
        )
      )
      let process = yield* start
      let owner: Client = yield* connect(process)
      const jobId = (yield* submit(owner, "narrator")).job_id!
      yield* hears(owner, "1a3")
      const names = ["history", "live", "away", "gone"] as const
      const observers = new Map<string, Client>()
      /** What each has taken in; what it was sent after that it loses with its connection. */
      const taken = new Map<string, Array<Frame>>(["owner", ...names].map((name) => [name, []]))
      const take = (name: string, peer: Peer, count: number) => taken.get(name)!.push(...peer.events().slice(0, count))
      for (const name of names) {
        const observer = yield* connect(process)
        observers.set(name, observer)
        const subscribed = yield* ask(observer, "job.subscribe", { job_id: jobId, history: name !== "live" })
        // All that was asked for follows, or what is live begins here.
        expect(subscribed.payload.subscribed_from).toBe(name === "live" ? 4 : 0)
        if (name !== "live") yield* hears(observer, "1a3")
      }
      yield* ask(observers.get("gone")!, "job.unsubscribe", { job_id: jobId })
      for (let attempt = 1; attempt <= 3; attempt++) {
        const away = observers.get("away")!
        take("away", away, Number.POSITIVE_INFINITY)
        yield* away.drop
        yield* open(`narrator ${attempt}`)
        for (const peer of [owner, observers.get("history")!, observers.get("live")!])
          yield* hears(peer, `${attempt}b3`)
        take("owner", owner, Number.POSITIVE_INFINITY)
        // One of those that come after a resume loses all that it has been sent since its first event, the other nothing.
        take("history", observers.get("history")!, 1)
        take("live", observers.get("live")!, Number.POSITIVE_INFINITY)
        take("gone", observers.get("gone")!, Number.POSITIVE_INFINITY)
        process = yield* start
        owner = yield* resume(process, owner, taken.get("owner")!.length)
        for (const [name, peer] of observers) {
          observers.set(name, yield* resume(process, peer, taken.get(name)!.length))
        }
        for (const peer of [owner, ...observers.values()]) {
          if (peer !== observers.get("gone")) yield* hears(peer, `${attempt + 1}a3`)
        }
      }
      yield* open("narrator 4")
      yield* open("narrator 4 ends")
      yield* owner.terminal(jobId)
      take("owner", owner, Number.POSITIVE_INFINITY)
      for (const [name, peer] of observers) {
        if (name !== "gone") yield* peer.terminal(jobId)
        yield* barrier(peer)
        take(name, peer, Number.POSITIVE_INFINITY)
      }
      const told = taken.get("owner")!
      expect(told.map(({ payload: { body }, type }) => body?.message ?? body?.phase ?? type)).toEqual([
        "running",
        ..."1a1 1a2 1a3 1b1 1b2 1b3".split(" "),
        ...[2, 3, 4].flatMap((attempt) => [
          `attempt ${attempt}, after a restart of the runtime`,
          ...["a1", "a2", "a3", "b1", "b2", "b3"].map((log) => `${attempt}${log}`)
        ]),
        "job.result"
      ])
      for (const [name, frames] of taken) {
        expect([name, numbers(frames)]).toEqual([name, upFrom(1, frames)])
        const part = name === "live" ? told.slice(4) : name === "gone" ? told.slice(0, 4) : told
        expect(frames.map(content)).toEqual(part.map(content))
      }
    })
  )
})

describe("§8.3 after a kill the numbers of a session", () => {
  it.scoped("go on without gap or reuse; what was not stored has none, and what was is replayed as it was", () =>
    Effect.gen(function* () {
      const { kill, start } = machine(
        Layer.mergeAll(waiting("one", { onRestart: "rerun" }), waiting("two", { onRestart: "rerun" }))
      )
      let process = yield* start
      let peer: Client = yield* connect(process)
      const jobs = [(yield* submit(peer, "one")).job_id!, (yield* submit(peer, "two")).job_id!]
      const all: Array<Frame> = []
      for (let attempt = 1; attempt <= 3; attempt++) {
        yield* hears(peer, `one ${attempt}`, `two ${attempt}`)
        all.push(...peer.events())
        expect(numbers(all)).toEqual(upFrom(1, all))
        const count = peer.events().length
        yield* kill
        // The process goes on for a moment, and what it does is lost: nobody was told of it.
        yield* open(`one ${attempt}`)
        yield* barrier(peer)
        yield* TestClock.adjust("1 second")
        yield* barrier(peer)
        expect(peer.events().length).toBe(count)
        process = yield* start
        const replayed = yield* resume(process, peer, 0)
        yield* barrier(replayed)
        expect(replayed.events().slice(0, all.length).map(content)).toEqual(all.map(content))
        expect(numbers(replayed.events())).toEqual(upFrom(1, replayed.events()))
        peer = yield* resume(process, replayed, all.length)
      }
      // They are what an observer names where it wants to begin (§7.6).
      const observers = yield* Effect.forEach([0, ...upFrom(1, all)], (from) =>
        Effect.gen(function* () {
          const observer = yield* connect(process)
          yield* ask(observer, "job.subscribe", { job_id: jobs[0], history: true, from_event_seq: from })
          return { from, observer }
        })
      )
      yield* open("one 4")
      yield* open("two 4")
      for (const job of jobs) expect((yield* peer.terminal(job)).payload.result).toBe(4)
      all.push(...peer.events())
      expect(numbers(all)).toEqual(upFrom(1, all))
      for (const [i, name] of ["one", "two"].entries()) {
        expect(
          all
            .filter(({ job_id }) => job_id === jobs[i])
            .flatMap(({ payload }) => payload.body?.message ?? payload.body?.phase ?? [])
        ).toEqual([
          "running",
          `${name} 1`,
          ...[2, 3, 4].flatMap((attempt) => [
            `attempt ${attempt}, after a restart of the runtime`,
            `${name} ${attempt}`
          ]),
          `${name} 4 goes on`
        ])
      }
      for (const { from, observer } of observers) {
        yield* observer.terminal(jobs[0]!)
        const told = all.filter(({ event_seq, job_id }) => job_id === jobs[0] && event_seq! > from)
        expect([from, observer.events().map(content)]).toEqual([from, told.map(content)])
      }
      // A new job's events come next.
      const next = yield* submit(peer, "one")
      yield* hears(peer, "one 1")
      expect(eventsOf(peer, next.job_id!)[0]!.event_seq).toBe(all.length + 1)
    })
  )
})

describe("§9.6 after a kill a budget", () => {
  it.scoped("is as spent, of a job and of those that it delegated to, and is spent to its exact end", () =>
    Effect.gen(function* () {
      /** By attempt: what the job, its child and the child's child spend, and what the two are given. */
      const plan = [
        { spends: ["0.1", "0.2", "0.05"], shares: ["0.5", "0.3"] },
        { spends: ["0.15", "0.1", "0.3"], shares: ["0.5", "0.4"] },
        { spends: ["0.003", "0.037", "0.06"], shares: ["0.097", "0.06"] }
      ] as const
      const left = Effect.map(Job.remaining, (remaining) => remaining["USD"])
      const code = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
        Effect.match(effect, {
          onSuccess: (): string => "ok",
          onFailure: (error) => (error as { readonly code: string }).code
        })
      const lease = (amount: string) => ({ "agent.delegate": ["spender"], "cost.budget": [`USD:${amount}`] })
      const { start } = machine(
        Agent.untyped(
          "spender",
          (input) =>
            Effect.gen(function* () {
              const { attempt, depth } = input === null ? { depth: 0, ...(yield* Job) } : (input as Place)
              const { shares, spends } = plan[attempt - 1]!
              const at: Array<unknown> = [yield* left]
              yield* Job.spend("cost.work", `${spends[depth]} USD`)
              at.push(yield* left)
              if (depth < 2) {
                const child = { attempt, depth: depth + 1 }
                // A thousandth more than there is.
                const over = (Number(yield* left) + 0.001).toFixed(3)
                at.push(yield* code(Job.delegate("spender", child, { lease: lease(over) })))
                at.push(yield* Job.delegate("spender", child, { lease: lease(shares[depth]!) }))
                at.push(yield* left)
              }
              if (depth === 2 && attempt < 3) {
                yield* Job.log(`spent ${attempt}`)
                return yield* Effect.never
              }
              at.push(yield* code(Job.tool("work", {}, Effect.void)))
              return at
            }),
          { onRestart: "rerun" }
        )
      )
      let peer: Client = yield* connect(yield* start)
      const parent = (yield* submit(peer, "spender", null, { lease_request: lease("1") })).job_id!
      const budgets: Array<unknown> = []
      let seen = 0
      for (let attempt = 1; attempt <= 2; attempt++) {
        yield* hears(peer, `spent ${attempt}`)
        budgets.push((yield* listing(peer)).jobs.map(({ budget }) => budget))
        seen += peer.events().length
        // So that the next process's jobs are listed behind these.
        yield* TestClock.adjust("1 second")
        peer = yield* resume(yield* start, peer, seen)
      }
      const end = (yield* peer.terminal(parent)).payload
      // What a child had not spent is its parent's again, and the child's no more.
      const usd = (...amounts: ReadonlyArray<number>) => amounts.map((USD) => ({ USD }))
      expect(budgets).toEqual([usd(0.4, 0, 0.25), usd(0, 0, 0, 0, 0.1)])
      expect((yield* listing(peer)).jobs.map(({ budget }) => budget)).toEqual(usd(0, 0, 0, 0, 0, 0, 0))
      const refused = "LEASE_SUBSET_VIOLATION"
      const spent = "BUDGET_EXHAUSTED"
      const child = ["0.097", "0.06", refused, ["0.06", "0", spent], "0", spent]
      expect(end.result).toEqual(["0.1", "0.097", refused, child, "0", spent])
      expect(numbers(peer.events())).toEqual(upFrom(seen + 1, peer.events()))
    })
  )
})

interface Place {
  readonly attempt: number
  readonly depth: number
}
