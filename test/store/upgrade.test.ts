/**
 * A database of each schema that was ever published is opened by this version: its runtime was killed in the midst of its work, and
 * the next one goes on. The fixtures and how they are made: `test/store/fixtures/README.md`.
 */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Layer, Option, Record, Redacted, Schema, Scope, TestClock } from "effect"
import { copyFileSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { Agent, Job } from "../../src/agent/index.js"
import { CredentialProvisioner } from "../../src/runtime/index.js"
import { CredentialLedger, Store } from "../../src/store/index.js"
import { migrations } from "../../src/store/internal/migrations.js"
import { SqliteStore } from "../../src/store/sqlite.js"
import { allFeatures, eventsOf, type Frame, hello, type Peer, submit } from "../runtime/peer.js"
import { world } from "../runtime/world.js"
import { scratch } from "../support/scratch.js"
import type { Facts, JobName } from "./fixtures/facts.js"
import { type Fixture, fixtures, keyOf } from "./fixtures/list.js"
import { ddlOf, withFile } from "./fixtures/open.js"
import { weaklySealed } from "../support/storeKeys.js"

const folder = scratch("arcp-upgrade-")
let copies = 0

const fixturePath = (name: string) => new URL(`./fixtures/${name}`, import.meta.url)

const copyOf = ({ name }: Pick<Fixture, "name">): string => {
  const filename = join(folder, `${copies++}.db`)
  copyFileSync(fixturePath(`${name}.db`), filename)
  return filename
}

const factsOf = ({ name }: Fixture) => JSON.parse(readFileSync(fixturePath(`${name}.json`), "utf8")) as Facts

/** The stores in a file; the key of the older fixtures is one that is not taken any more. */
const storesOf = (fixture: Fixture, filename: string) =>
  fixture.sealed ? weaklySealed(filename, Redacted.make(keyOf(fixture))) : SqliteStore.layer({ filename })

const features = [...allFeatures.filter((name) => name !== "ack" && name !== "heartbeat"), "artifacts"]

/** Agents of the fixtures as a later deploy has them: those that waited end now, and say how often they were started. */
const goingOn = (name: string, onRestart: "rerun" | "fail") =>
  Agent.untyped(name, () => Effect.map(Job, ({ attempt }) => `${name} ${attempt}`), { onRestart })

const agents = Layer.mergeAll(
  Agent.untyped("echo", (input) => Effect.succeed(input)),
  goingOn("story", "fail"),
  goingOn("again", "rerun"),
  goingOn("once", "fail"),
  goingOn("keyed", "rerun"),
  goingOn("keyholder", "fail"),
  goingOn("stubborn", "fail"),
  Agent.untyped("steps", () => Job.step("one", Schema.String, Effect.succeed("second time")), { onRestart: "rerun" }),
  Agent.untyped("spender", () => Effect.map(Job.remaining, ({ USD }) => USD), { onRestart: "rerun" })
)

/** A runtime on the file, at the fixture's time and a little more. */
const opened = (fixture: Fixture, filename: string, revoked: Array<string> = []) =>
  Effect.gen(function* () {
    yield* TestClock.setTime(factsOf(fixture).written + 60_000)
    const provisioner = Layer.succeed(CredentialProvisioner, {
      issue: () => Effect.succeed([]),
      revoke: (handle) => Effect.sync(() => void revoked.push(handle))
    })
    const store = storesOf(fixture, filename)
    const scope = yield* Scope.make()
    const running = yield* Scope.extend(Layer.build(Layer.provide(world({ store, agents }), provisioner)), scope)
    return { running, stop: Scope.close(scope, Exit.void) }
  })

const resume = (facts: Facts, session: string, after: number) => {
  const { sessionId, token } = facts.sessions[session]!
  return hello({
    features,
    resume: { session_id: sessionId, resume_token: token, last_event_seq: after }
  })
}

const ask = (peer: Peer, type: string, payload: object) => Effect.flatMap(peer.send(type, payload), peer.reply)

const sent = ({ event_seq, job_id, payload, type }: Frame) => ({ event_seq, job_id, type, payload })

const storyOf = (frames: ReadonlyArray<Frame>): string =>
  frames.flatMap(({ payload }) => (payload.kind === "result_chunk" ? [payload.body.data as string] : [])).join("")

describe.each(fixtures.map((fixture) => [fixture.name, fixture] as const))("a database of %s", (_, fixture) => {
  const facts = factsOf(fixture)
  const jobs = facts.jobs as Readonly<Record<JobName, string>>

  it.scoped(
    "§6.3 an owner resumes: every frame is as it was sent, the numbers go on, and running jobs are recovered",
    () =>
      Effect.gen(function* () {
        const revoked: Array<string> = []
        const { running, stop } = yield* opened(fixture, copyOf(fixture), revoked)
        yield* Effect.gen(function* () {
          const owner = yield* resume(facts, "owner", 0)
          const endOf = (name: JobName) => Effect.map(owner.terminal(jobs[name]), ({ payload }) => payload)
          expect((yield* endOf("again")).result).toBe("again 2")
          expect(yield* endOf("once")).toMatchObject({
            code: "INTERNAL_ERROR",
            retryable: true,
            details: { reason: "runtime_restarted" }
          })
          // Schema 4 is the first that keeps a cancel which was acknowledged.
          expect((yield* endOf("stubborn")).code).toBe(fixture.schema < 4 ? "INTERNAL_ERROR" : "CANCELLED")
          if (jobs.steps !== undefined) expect((yield* endOf("steps")).result).toBe("first time")
          if (jobs.spender !== undefined) expect((yield* endOf("spender")).result).toBe("0.75")
          if (jobs.keyholder !== undefined) {
            expect((yield* endOf("keyholder")).details).toMatchObject({ reason: "runtime_restarted" })
            expect(revoked).toEqual([expect.stringMatching(/^handle of /)])
          }
          const before = facts.sessions["owner"]!.frames
          expect(owner.events().slice(0, before.length).map(sent)).toEqual(before)
          expect(owner.events().map(({ event_seq }) => event_seq)).toEqual(owner.events().map((_, i) => i + 1))
          expect(storyOf(eventsOf(owner, jobs.story))).toBe("first;second;third;")
          expect((yield* endOf("story")).result_size).toBe(19)
          const next = yield* submit(owner, "echo", "a new job")
          expect((yield* owner.terminal(next.job_id!)).payload.result).toBe("a new job")
        }).pipe(Effect.provide(running))
        yield* stop
      })
  )

  it.scoped("§7.6 a late observer reads the streamed result, with and without chunks, and a subscription goes on", () =>
    Effect.gen(function* () {
      const { running, stop } = yield* opened(fixture, copyOf(fixture))
      yield* Effect.gen(function* () {
        const late = yield* hello({ features })
        expect((yield* ask(late, "job.subscribe", { job_id: jobs.story, history: true })).type).toBe("job.subscribed")
        yield* late.terminal(jobs.story)
        expect(storyOf(eventsOf(late, jobs.story))).toBe("first;second;third;")
        const plain = yield* hello({ features: ["subscribe"] })
        yield* ask(plain, "job.subscribe", { job_id: jobs.story, history: true })
        expect((yield* plain.terminal(jobs.story)).payload.result).toBe("first;second;third;")
        const seen = facts.sessions["observer"]!.frames
        const observer = yield* resume(facts, "observer", 0)
        expect((yield* observer.terminal(jobs.again)).payload.result).toBe("again 2")
        expect(observer.events().slice(0, seen.length).map(sent)).toEqual(seen)
        const stranger = yield* hello({ features, token: "bob-token" })
        expect((yield* ask(stranger, "job.subscribe", { job_id: jobs.story })).payload.code).toBe("JOB_NOT_FOUND")
      }).pipe(Effect.provide(running))
      yield* stop
    })
  )

  it.scoped("§7.2 a repeated key is the same job, ended or running, and a conflict is refused", () =>
    Effect.gen(function* () {
      const { running, stop } = yield* opened(fixture, copyOf(fixture))
      yield* Effect.gen(function* () {
        const peer = yield* hello({ features })
        const ended = yield* submit(peer, "echo", { text: "kept" }, { idempotency_key: "ended" })
        expect([ended.type, ended.job_id]).toEqual(["job.accepted", jobs.echo])
        expect((yield* peer.terminal(jobs.echo)).payload.result).toEqual({ text: "kept" })
        const other = yield* submit(peer, "echo", { text: "other" }, { idempotency_key: "ended" })
        expect(other.payload.code).toBe("DUPLICATE_KEY")
        const again = yield* submit(peer, "keyed", { n: 1 }, { idempotency_key: "running" })
        expect(again.job_id).toBe(jobs.keyed)
        expect((yield* peer.terminal(jobs.keyed)).payload.result).toBe("keyed 2")
        const repeater = yield* resume(facts, "repeater", 0)
        expect((yield* repeater.terminal(jobs.keyed)).payload.result).toBe("keyed 2")
      }).pipe(Effect.provide(running))
      yield* stop
    })
  )

  it.effect(
    "§7.2 a job that several sessions own has them in their order, and every other job has its first owner only",
    () =>
      Effect.gen(function* () {
        const { owner, repeater } = facts.sessions
        const ownersOf = (jobId: string) =>
          Effect.map(
            Effect.flatMap(Store, ({ job }) => job(jobId)),
            (found) => {
              const { otherOwners, state } = Option.getOrThrow(found)
              return [state.ownerSessionId, ...otherOwners]
            }
          )
        const store = storesOf(fixture, copyOf(fixture))
        const found = yield* Effect.provide(Effect.all(Record.map(jobs, ownersOf)), store)
        // Before schema 6 the session that came last was the only owner.
        const several = [owner, repeater].map((session) => session!.sessionId).slice(fixture.schema < 6 ? 1 : 0)
        expect(found).toEqual({ ...Record.map(jobs, () => [owner!.sessionId]), keyed: several })
      })
  )

  it.scoped("§9.8.2 has no live credential left, its artifact can be fetched, and it opens a second time", () =>
    Effect.gen(function* () {
      const filename = copyOf(fixture)
      const first = yield* opened(fixture, filename)
      yield* Effect.gen(function* () {
        if (facts.artifactId === undefined) return
        const peer = yield* hello({ features })
        const { payload } = yield* ask(peer, "artifact.fetch", { artifact_id: facts.artifactId })
        expect(Buffer.from(payload.data, "base64").toString()).toBe("an artifact of an earlier version")
        const owner = yield* resume(facts, "owner", 0)
        yield* owner.terminal(jobs.keyholder)
      }).pipe(Effect.provide(first.running))
      yield* first.stop
      const ledger = yield* Layer.build(storesOf(fixture, filename)).pipe(
        Effect.flatMap((stores) =>
          Effect.provide(
            Effect.flatMap(CredentialLedger, ({ list }) =>
              list({ states: ["issuing", "live", "revoking", "revoked", "failed"], limit: 99 })
            ),
            stores
          )
        ),
        Effect.scoped
      )
      expect(ledger.some(({ handle }) => handle?.startsWith("handle of "))).toBe(jobs.keyholder !== undefined)
      expect(ledger.filter(({ state }) => state !== "revoked")).toEqual([])
      const second = yield* opened(fixture, filename)
      yield* Effect.gen(function* () {
        const peer = yield* hello({ features })
        const rows = (yield* ask(peer, "session.list_jobs", {})).payload.jobs as ReadonlyArray<{ status: string }>
        expect(rows).toHaveLength(Object.keys(jobs).length)
        expect(rows.filter(({ status }) => status === "running" || status === "pending")).toEqual([])
      }).pipe(Effect.provide(second.running))
      yield* second.stop
      expect(yield* withFile(filename, "PRAGMA integrity_check")).toEqual([{ integrity_check: "ok" }])
    })
  )
})

describe("the schema", () => {
  const latest = migrations.at(-1)!.id

  it("has a fixture of its newest step: `npm run fixtures` makes it", () => {
    expect(Math.max(...fixtures.map(({ schema }) => schema))).toBe(latest)
    expect(migrations.map(({ id }) => id)).toEqual(migrations.map((_, i) => i + 1))
  })

  it.effect("of each fixture is what its steps make today: no published step was changed", () =>
    Effect.gen(function* () {
      const { migrateTo } = yield* Effect.promise(() => import("../../src/store/internal/migrating.js"))
      for (const fixture of fixtures) {
        const made = yield* ddlOf(join(folder, `${copies++}.db`), migrateTo(migrations.slice(0, fixture.schema)))
        expect(yield* ddlOf(copyOf(fixture)), fixture.name).toEqual(made)
      }
    })
  )

  it.effect("of an upgraded database is that of a new one", () =>
    Effect.gen(function* () {
      const { migrate } = yield* Effect.promise(() => import("../../src/store/internal/migrating.js"))
      const fresh = yield* ddlOf(join(folder, `${copies++}.db`), migrate)
      for (const fixture of fixtures) expect(yield* ddlOf(copyOf(fixture), migrate), fixture.name).toEqual(fresh)
    })
  )
})
