/** Replies are bounded in bytes: pages of listings, what waits for a peer that does not read, and texts that come back. */
import { describe, expect, it } from "@effect/vitest"
import { Context, Effect, Exit, FastCheck as fc, Fiber, Layer, Stream } from "effect"
import { Agent } from "../../src/agent/index.js"
import type { JobInfo } from "../../src/protocol/Session.js"
import { gather } from "../../src/runtime/sessions/internal/jobsPage.js"
import { Batch } from "../../src/runtime/log/Batch.js"
import { Outbox } from "../../src/runtime/log/Outbox.js"
import { SessionLog } from "../../src/runtime/log/SessionLog.js"
import { MemoryStore } from "../../src/store/index.js"
import { Store, type StoredJob } from "../../src/store/Store.js"
import { SqliteStore } from "../../src/store/sqlite.js"
import { type Connection, Connector } from "../../src/transport/Connection.js"
import * as MemoryTransport from "../../src/transport/MemoryTransport.js"
import { allFeatures, dial, hello, type Peer, run, submit } from "./peer.js"
import { world, type WorldOptions } from "./world.js"
import { runs } from "../support/properties.js"
import { jobRecord, jobState } from "../support/records.js"

const features = [...allFeatures.filter((feature) => feature !== "heartbeat"), "artifacts"]
const never = Agent.untyped("never", () => Effect.never)
const echo = Agent.untyped("echo", (input) => Effect.succeed(input))
const over = (options: WorldOptions) => world({ agents: Layer.merge(never, echo), ...options })

const turns = (count: number) =>
  Effect.repeatN(
    Effect.promise(() => new Promise((resolve) => setImmediate(resolve))),
    count
  )

/** A lease of so many bytes, about. */
const lease = (bytes: number) => ({
  "fs.read": Array.from({ length: Math.ceil(bytes / 1_000) }, (_, n) => `/${n}/${"x".repeat(990)}/**`)
})

/** Every page of a listing, in order. */
const pages = (peer: Peer, request: object = {}) =>
  Effect.gen(function* () {
    const all: Array<{ readonly ids: ReadonlyArray<string>; readonly bytes: number }> = []
    let cursor: string | null = null
    do {
      const id: string = yield* peer.send("session.list_jobs", { ...request, ...(cursor === null ? {} : { cursor }) })
      const frame = yield* peer.reply(id)
      expect(frame.type).toBe("session.jobs")
      all.push({
        ids: frame.payload.jobs.map((job: JobInfo) => job.job_id),
        bytes: Buffer.byteLength(JSON.stringify(frame))
      })
      cursor = frame.payload.next_cursor
    } while (cursor !== null)
    return all
  })

describe("§6.6 pages of a listing", () => {
  for (const [name, store] of [
    ["memory", () => MemoryStore.layer],
    ["SQLite", () => SqliteStore.layer({ filename: ":memory:" })]
  ] as const) {
    it.scoped(`have at most maxFrameBytes encoded bytes, and cursors lead through every job once (${name})`, () =>
      Effect.gen(function* () {
        const peer = yield* hello({ features })
        const ids: Array<string> = []
        for (let n = 0; n < 24; n++) {
          const { job_id } = yield* submit(peer, "never", null, { lease_request: lease(n % 3 === 0 ? 500 : 14_000) })
          ids.push(job_id!)
        }
        const all = yield* pages(peer)
        expect(all.flatMap((page) => page.ids)).toEqual(ids)
        for (const { bytes } of all) expect(bytes).toBeLessThanOrEqual(60_000)
        // And no page is cut much earlier than it must be.
        expect(all.length).toBeLessThanOrEqual(8)
        expect((yield* pages(peer, { limit: 1 })).flatMap((page) => page.ids)).toEqual(ids)
      }).pipe(Effect.provide(over({ store: store(), limits: { maxFrameBytes: 60_000 } })))
    )
  }

  it.scoped("a job whose row leaves no room for another has a page of its own", () =>
    Effect.gen(function* () {
      const peer = yield* hello({ features })
      const ids: Array<string> = []
      for (let n = 0; n < 5; n++)
        ids.push((yield* submit(peer, "never", null, { lease_request: lease(14_000) })).job_id!)
      expect((yield* pages(peer)).map((page) => page.ids)).toEqual(ids.map((id) => [id]))
    }).pipe(Effect.provide(over({ limits: { maxFrameBytes: 20_000 } })))
  )

  const job = (n: number, input: number): StoredJob => {
    const jobId = `job_${String(n).padStart(6, "0")}`
    return { record: jobRecord(jobId, { input: "x".repeat(input) }), state: jobState(jobId), otherOwners: [] }
  }

  it.effect("whatever the rows' sizes and the store's: complete, in order, within both bounds, and read in steps", () =>
    Effect.promise(() =>
      fc.assert(
        fc.asyncProperty(
          fc.array(fc.record({ row: fc.integer({ min: 0, max: 400 }), input: fc.integer({ min: 0, max: 3_000 }) }), {
            maxLength: 60
          }),
          fc.integer({ min: 1, max: 20 }),
          fc.integer({ min: 1, max: 2_000 }),
          async (sizes, rows, bytes) => {
            const jobs = sizes.map(({ input }, n) => job(n, input))
            const row = ({ record }: StoredJob): JobInfo =>
              ({ job_id: record.jobId, agent: "ä".repeat(sizes[Number(record.jobId.slice(4))]!.row) }) as JobInfo
            const read = (after: string | undefined, limit: number) =>
              Effect.sync(() =>
                jobs.filter(({ record }) => after === undefined || record.jobId > after).slice(0, limit)
              )
            const shown: Array<string> = []
            let cursor: string | undefined
            do {
              const page = await Effect.runPromise(gather(cursor, { rows, bytes }, read, row))
              const size = page.rows.reduce((sum, text) => sum + Buffer.byteLength(text) + 1, 0)
              expect(page.rows.length).toBeLessThanOrEqual(rows)
              if (page.rows.length > 1) expect(size).toBeLessThanOrEqual(bytes)
              if (page.moreAfter !== undefined) expect(page.rows.length).toBeGreaterThan(0)
              shown.push(...page.rows.map((text) => (JSON.parse(text) as JobInfo).job_id))
              cursor = page.moreAfter
            } while (cursor !== undefined)
            expect(shown).toEqual(jobs.map(({ record }) => record.jobId))
          }
        ),
        { numRuns: runs(100) }
      )
    )
  )

  it.effect("large inputs, which no row shows, are read a few at a time, and end a page", () =>
    Effect.gen(function* () {
      const jobs = Array.from({ length: 40 }, (_, n) => job(n, 1_000_000))
      const limits: Array<number> = []
      const read = (after: string | undefined, limit: number) =>
        Effect.sync(() => {
          limits.push(limit)
          return jobs.filter(({ record }) => after === undefined || record.jobId > after).slice(0, limit)
        })
      const page = yield* gather(
        undefined,
        { rows: 1_000, bytes: 1_000_000 },
        read,
        ({ record }) =>
          ({
            job_id: record.jobId
          }) as JobInfo
      )
      expect(page.rows.length).toBe(17)
      expect(Math.max(...limits)).toBe(8)
      expect(limits.reduce((a, b) => a + b)).toBeLessThanOrEqual(18)
    })
  )
})

/** A store that counts the listings that it begins to read. */
const counting = () => {
  const listings = { begun: 0 }
  const store = Layer.map(MemoryStore.layer, (context) => {
    const inner = Context.get(context, Store)
    return Context.add(context, Store, {
      ...inner,
      jobs: (query) =>
        Effect.suspend(() => {
          if (query.afterJobId === undefined) listings.begun++
          return inner.jobs(query)
        })
    })
  })
  return { listings, store }
}

const frame = (id: string, type: string, payload: object) => JSON.stringify({ arcp: "1.1", id, type, payload })

/** A peer that has said hello and does not read; `read` begins to, and returns what has come once there is so much. */
const deaf = Effect.gen(function* () {
  const connection = yield* Effect.flatMap(Connector, (connector) => connector.connect)
  yield* connection.send([
    frame("hello", "session.hello", { auth: { scheme: "bearer", token: "alice-token" }, capabilities: { features } })
  ])
  const read = (count: number) =>
    connection.inbound.pipe(
      Stream.take(count),
      Stream.runCollect,
      Effect.map((frames) => [...frames].map((text) => JSON.parse(text as string)))
    )
  return { connection, read }
})

describe("§14 a peer that does not read its replies", () => {
  const transport = MemoryTransport.layerWith({ encoded: true, capacity: 4 })

  it.scoped("has few pages made for it, however many it asks for; once it reads, all of them come", () => {
    const { listings, store } = counting()
    return Effect.gen(function* () {
      const busy = yield* hello({ features })
      for (let n = 0; n < 20; n++) yield* submit(busy, "never", null, { lease_request: lease(14_000) })
      const { connection, read } = yield* deaf
      const count = 300
      const asking = yield* Effect.fork(
        Effect.forEach(
          Array.from({ length: count }),
          (_, n) => connection.send([frame(`list-${n}`, "session.list_jobs", {})]),
          { discard: true }
        )
      )
      yield* turns(600)
      expect(listings.begun).toBeLessThan(20)
      expect(asking.unsafePoll()).toBeNull()
      const frames = yield* read(count + 1)
      yield* Fiber.join(asking)
      expect(
        frames
          .slice(1)
          .map((reply) => reply.payload.request_id)
          .sort()
      ).toEqual(Array.from({ length: count }, (_, n) => `list-${n}`).sort())
    }).pipe(Effect.provide(over({ store, transport, limits: { maxFrameBytes: 100_000, replyBytes: 300_000 } })))
  })

  for (const [what, request] of [
    ["pongs", (n: number) => frame(`r-${n}`, "session.ping", { nonce: `${n}-`.padEnd(256, "x") })],
    ["refusals", (n: number) => frame(`r-${n}-`.padEnd(250, "x"), "artifact.fetch", { artifact_id: "none" })],
    ["cancels", (n: number) => frame(`r-${n}-`.padEnd(250, "x"), "job.cancel", { job_id: "job_none" })],
    [
      "submits",
      (n: number) =>
        frame(`r-${n}`, "job.submit", { agent: "never", lease_request: { "fs.read": [`/${"x".repeat(900)}`] } })
    ]
  ] as const) {
    it.scoped(`is read no further at replyBytes of ${what}; once it reads, all of them come`, () =>
      Effect.gen(function* () {
        const { connection, read } = yield* deaf
        const count = 900
        let sent = 0
        const asking = yield* Effect.fork(
          Effect.forEach(
            Array.from({ length: count }),
            (_, n) => Effect.tap(connection.send([request(n)]), () => Effect.sync(() => void sent++)),
            { discard: true }
          )
        )
        yield* turns(1_000)
        expect(sent).toBeLessThan(150)
        expect(asking.unsafePoll()).toBeNull()
        // submits are followed by an event each
        const frames = yield* read(1 + (what === "submits" ? 2 : 1) * count)
        yield* Fiber.join(asking)
        // What the runtime says at its end is read, too: its time limits are those of a clock that nobody moves.
        yield* Effect.forkScoped(Stream.runDrain(connection.inbound))
        expect(frames.filter(({ type }) => type !== "job.event").length).toBe(count + 1)
      }).pipe(Effect.provide(over({ transport, limits: { replyBytes: 20_000, runningJobsPerPrincipal: 1_000 } })))
    )
  }

  it.scoped("and leaves: what it asked for and was not read is not answered", () => {
    const { listings, store } = counting()
    return Effect.gen(function* () {
      const busy = yield* hello({ features })
      for (let n = 0; n < 20; n++) yield* submit(busy, "never", null, { lease_request: lease(14_000) })
      const { connection } = yield* deaf
      const asking = yield* Effect.fork(
        Effect.exit(
          Effect.forEach(
            Array.from({ length: 300 }),
            (_, n) => connection.send([frame(`list-${n}`, "session.list_jobs", {})]),
            { discard: true }
          )
        )
      )
      yield* turns(300)
      yield* connection.close(1000, "")
      expect(Exit.isFailure(yield* Fiber.join(asking))).toBe(true)
      yield* run(busy, "echo", 1)
      yield* turns(100)
      expect(listings.begun).toBeLessThan(100)
    }).pipe(Effect.provide(over({ store, transport, limits: { maxFrameBytes: 100_000, replyBytes: 300_000 } })))
  })
})

describe("the replies of a link", () => {
  const bounds = { replies: 4, replyBytes: 1_000_000 }
  const make = () => new Outbox({} as Connection, 0, 0, bounds)

  it("go in writes of bounded size, in order, and count until they are settled", () => {
    const link = make()
    const texts = Array.from({ length: 3 }, (_, n) => String(n).repeat(200_000))
    for (const text of texts) link.post(text)
    expect(link.hasRoom).toBe(true)
    link.post("ä".repeat(250_000))
    expect(link.hasRoom).toBe(false)
    expect(link.full).toBe("replyBytes")
    const taken = []
    while (link.outbox.length > 0) {
      const batch = link.take()
      expect(batch.length).toBe(1)
      taken.push(...batch)
    }
    expect(taken.slice(0, 3)).toEqual(texts)
    expect(link.hasRoom).toBe(false)
    link.settle()
    expect(link.hasRoom).toBe(true)
  })

  it.effect("whoever waits for room looks again when it registers, and is woken by each way to room", () =>
    Effect.gen(function* () {
      for (const makeRoom of ["settle", "owed", "end", "abandon"] as const) {
        const link = make()
        const settled = link.owe(bounds.replyBytes)
        if (makeRoom === "settle") {
          for (let n = 0; n < bounds.replies; n++) link.post("x")
          settled()
        }
        expect(link.hasRoom).toBe(false)
        const waiting = yield* Effect.fork(link.room)
        yield* Effect.yieldNow()
        expect(waiting.unsafePoll()).toBeNull()
        if (makeRoom === "settle") {
          link.take()
          link.settle()
        } else if (makeRoom === "owed") settled()
        else if (makeRoom === "end") link.end(1000, "")
        else link.abandon()
        yield* Fiber.join(waiting)
        // Room again before it registers: it does not wait.
        yield* link.room
      }
    })
  )

  it("are dropped once the connection has ended", () => {
    const link = make()
    link.post("x".repeat(2_000_000))
    link.abandon()
    link.post("y")
    expect(link.outbox).toEqual([])
    expect(link.hasRoom).toBe(true)
  })
})

describe("§14 texts that come back", () => {
  const long = (length: number) => "x".repeat(length)
  const job = `job_${long(252)}`
  for (const [field, most, send, beyond] of [
    ["payload.reason", 1_024, (text: string) => ["job.cancel", { job_id: "job_none", reason: text }]],
    ["payload.nonce", 256, (text: string) => ["session.ping", { nonce: text }]],
    ["payload.idempotency_key", 256, (text: string) => ["job.submit", { agent: "echo", idempotency_key: text }]],
    ["agent", 128, (text: string) => ["job.submit", { agent: text }]],
    ["agent", 128, (text: string) => ["job.submit", { agent: `echo@${text}` }]],
    ["payload.filter.agent", 128, (text: string) => ["session.list_jobs", { filter: { agent: text } }], 257],
    ["payload.cursor", 1_024, (text: string) => ["session.list_jobs", { cursor: text }]],
    ["payload.job_id", 256, (text: string) => ["job.cancel", { job_id: text }]],
    ["payload.job_id", 256, (text: string) => ["job.subscribe", { job_id: text }]],
    ["payload.job_id", 256, (text: string) => ["job.unsubscribe", { job_id: text }]],
    ["payload.content_type", 256, (text: string) => ["artifact.put", { content_type: text, data: "" }]],
    ["payload.artifact_id", 256, (text: string) => ["artifact.fetch", { artifact_id: text }]],
    ["payload.artifact_id", 256, (text: string) => ["artifact.release", { artifact_id: text }]],
    [
      "lease_request",
      1_000,
      (text: string) => ["job.submit", { agent: "echo", lease_request: { "fs.read": [`/${text}`] } }],
      1_100
    ]
  ] as ReadonlyArray<readonly [string, number, (text: string) => readonly [string, object], number?]>) {
    it.scoped(
      `${send("…")[0]} ${field} of more than ${most} characters is INVALID_REQUEST naming it; the answer is small`,
      () =>
        Effect.gen(function* () {
          const peer = yield* hello({ features })
          for (const length of [beyond ?? most + 1, 1_000_000]) {
            const [type, payload] = send(long(length))
            const reply = yield* Effect.flatMap(peer.send(type, payload), peer.reply)
            expect(reply.type).toBe("session.error")
            expect(reply.payload.code).toBe("INVALID_REQUEST")
            expect(reply.payload.message).toContain(field)
            expect(JSON.stringify(reply).length).toBeLessThan(2_000)
          }
        }).pipe(Effect.provide(over({})))
    )
  }

  it.scoped("at their bounds they come back whole", () =>
    Effect.gen(function* () {
      const peer = yield* hello({ features })
      const { job_id } = yield* submit(peer, "never")
      const cancelled = yield* Effect.flatMap(peer.send("job.cancel", { job_id, reason: long(1_024) }), peer.reply)
      expect(cancelled.type).toBe("job.cancelled")
      expect(cancelled.payload.reason).toBe(long(1_024))
      const end = yield* peer.terminal(job_id!)
      expect(end.payload.message.length).toBe(512)
      yield* peer.send("session.ping", { nonce: long(256) })
      yield* peer.next("session.pong", (pong) => pong.payload.ping_nonce === long(256))
      const missing = yield* Effect.flatMap(peer.send("job.cancel", { job_id: job }), peer.reply)
      expect(missing.payload).toMatchObject({
        code: "JOB_NOT_FOUND",
        message: `job_id: there is no job ${job.slice(0, 64)}`
      })
    }).pipe(Effect.provide(over({})))
  )

  it.scoped("the envelope's: an id, a job_id or a trace_id that is too long is named, and not repeated", () =>
    Effect.gen(function* () {
      for (const [head, field] of [
        [{ id: long(257) }, "id"],
        [{ id: "a", job_id: long(257) }, "job_id"],
        [{ id: "a", trace_id: long(513) }, "trace_id"],
        [{ id: "a", session_id: long(257) }, "session_id"],
        [{ id: "a", type: long(257) }, "type"]
      ] as const) {
        const peer = yield* hello({ features })
        yield* peer.raw(JSON.stringify({ arcp: "1.1", type: "job.cancel", payload: {}, ...head }))
        const { payload } = yield* peer.next("session.error")
        expect(payload.code).toBe("INVALID_REQUEST")
        expect(payload.message).toMatch(new RegExp(`^${field}: `))
        expect(JSON.stringify(payload).length).toBeLessThan(400)
      }
      const stranger = yield* dial
      yield* stranger.send("session.hello", { client: { name: long(257) }, auth: { token: "alice-token" } })
      expect((yield* stranger.next("session.error")).payload.message).toContain("payload.client.name")
    }).pipe(Effect.provide(over({})))
  )
})

describe("what a session is told in a batch", () => {
  it("§10 goes over the connection that it has when the batch is stored, also if it was resumed meanwhile", () => {
    const session = new SessionLog(
      {
        sessionId: "sess_1",
        principal: { id: "alice", anonymous: false, claims: {} },
        client: {},
        features: [],
        tokenHash: "hash",
        previousTokenHash: undefined,
        createdAt: 0,
        lastSeenAt: 0,
        lastSeq: 0,
        ackedSeq: 0,
        floorSeq: 0
      },
      0
    )
    const connect = () => {
      const link = new Outbox({} as Connection, 0, 0, { replies: 4, replyBytes: 1_000_000 })
      session.connect(link, undefined)
      return link
    }
    const frame = (type: string) => ({ arcp: "1.1", id: type, type, payload: {} })
    const earlier = connect()
    const batch = new Batch()
    batch.announce(session, () => frame("announced"))
    batch.tell(session, () => frame("told"))
    const later = connect()
    batch.publish()
    batch.answer((answer) => answer())
    expect(earlier.outbox).toEqual([])
    expect(later.outbox.map((text) => JSON.parse(text).type)).toEqual(["announced", "told"])
    // Without a connection there is nothing to send it over.
    const away = new Batch()
    away.tell(session, () => frame("told"))
    session.disconnect()
    away.publish()
    away.answer((answer) => answer())
    expect(later.outbox.length).toBe(2)
  })
})
