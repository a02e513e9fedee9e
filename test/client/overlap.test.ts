/** Histories and repeats that hold what was seen already: nothing is shown twice, and nothing is left out (ARCP 1.1 §6.3, §7.2, §7.6). */
import { describe, expect, it } from "@effect/vitest"
import { Chunk, Deferred, Effect, Fiber, Layer, Redacted, Stream, TestClock } from "effect"
import { Agent, Job } from "../../src/agent/index.js"
import { ArcpClient } from "../../src/client/index.js"
import { Faults, layer as faulty } from "../../src/testing/FaultyTransport.js"
import type { ScriptedPeer } from "../../src/testing/ScriptedPeer.js"
import { agents, gate, resetGates, world } from "../runtime/world.js"
import { accepting, client, greet, head, sayer, submitted, withJob } from "./dialogue.js"

const texts = (events: Chunk.Chunk<object>) =>
  Chunk.toReadonlyArray(events).map((event) =>
    "missed" in event ? "gap" : (event as { readonly body: { readonly text: string } }).body.text
  )

type Said = readonly [text: string, at: string]

/** What a runtime says of the observed job `k` in one session. */
const observer = (peer: Pick<ScriptedPeer, "send">, session_id: string) => ({
  subscribed: (request_id: string, subscribed_from: number, replayed = true) =>
    peer.send(
      "job.subscribed",
      { request_id, job_id: "k", current_status: "running", subscribed_from, replayed },
      { session_id }
    ),
  event: (event_seq: number, [text, at]: Said) =>
    peer.send(
      "job.event",
      { kind: "thought", ts: `2026-01-01T${at}`, body: { text } },
      { session_id, job_id: "k", event_seq }
    ),
  result: (event_seq: number) =>
    peer.send("job.result", { final_status: "success" }, { session_id, job_id: "k", event_seq })
})

/** An observed job whose session is replaced after it has shown `seen`; the second history starts after number `from`. */
const observedTwice = (seen: ReadonlyArray<Said>, after: ReadonlyArray<Said>, from: number, replayed = true) =>
  Effect.gen(function* () {
    const { arcp, next, peer } = yield* withJob()
    const subscribing = yield* Effect.fork(arcp.subscribe("k", { history: true }))
    const first = observer(peer, "s")
    yield* first.subscribed((yield* peer.expect("job.subscribe")).id, 0)
    for (const [i, said] of seen.entries()) yield* first.event(i + 1, said)
    const job = yield* Fiber.join(subscribing)
    const reading = yield* Effect.fork(Stream.runCollect(job.eventsWith({ onGap: "mark" })))
    yield* TestClock.adjust(0)
    yield* peer.close(1001, "")
    yield* TestClock.adjust("1 second")
    const again = yield* greet(next, undefined, { session_id: "other" })
    const asked = yield* again.expect("job.subscribe", (frame) => frame.payload.job_id === "k")
    const second = observer(again, "other")
    yield* second.subscribed(asked.id, from, replayed)
    for (const [i, said] of after.entries()) yield* second.event(i + 1, said)
    yield* second.result(after.length + 1)
    yield* TestClock.adjust("1 second")
    return texts(yield* Fiber.join(reading))
  })

describe("an observer's history that is trimmed", () => {
  for (const [name, seen, after, shown] of [
    [
      "is matched where its times have fractions of several lengths",
      [
        ["1", "10:00:00Z"],
        ["2", "10:00:00.5Z"]
      ],
      [
        ["2", "10:00:00.5Z"],
        ["3", "10:00:00.7Z"]
      ],
      ["1", "2", "3"]
    ],
    [
      "is a gap where it starts a fraction of a second after what was seen",
      [
        ["1", "10:00:00.2Z"],
        ["2", "10:00:01Z"]
      ],
      [["4", "10:00:01.5Z"]],
      ["1", "2", "gap", "4"]
    ],
    [
      "loses no event where the runtime's clock went back",
      [
        ["1", "10:00:05Z"],
        ["2", "10:00:06Z"]
      ],
      [
        ["2", "10:00:06Z"],
        ["3", "10:00:01Z"],
        ["4", "10:00:02Z"]
      ],
      ["1", "2", "3", "4"]
    ],
    [
      "shows no event twice where all have one time",
      [
        ["1", "10:00:05Z"],
        ["2", "10:00:05Z"]
      ],
      [
        ["2", "10:00:05Z"],
        ["3", "10:00:05Z"]
      ],
      ["1", "2", "3"]
    ],
    [
      "shows no event twice where it starts before the first seen event and the runtime's clock went back",
      [
        ["2", "10:00:06Z"],
        ["3", "10:00:01Z"]
      ],
      [
        ["1", "10:00:00Z"],
        ["2", "10:00:06Z"],
        ["3", "10:00:01Z"],
        ["4", "10:00:02Z"]
      ],
      ["2", "3", "4"]
    ],
    [
      "hides at most as many events as were seen where it starts after them and the runtime's clock went back",
      [
        ["1", "10:00:05Z"],
        ["2", "10:00:06Z"]
      ],
      [
        ["4", "10:00:01Z"],
        ["5", "10:00:02Z"],
        ["6", "10:00:03Z"]
      ],
      ["1", "2", "6"]
    ]
  ] as ReadonlyArray<readonly [string, ReadonlyArray<Said>, ReadonlyArray<Said>, ReadonlyArray<string>]>) {
    it.scoped(`§7.6 ${name}`, () =>
      Effect.gen(function* () {
        expect(yield* observedTwice(seen, after, 1)).toEqual(shown)
      }).pipe(Effect.provide(client()))
    )
  }

  it.scoped("§7.6 and of which nothing is sent again hides no event that follows", () =>
    Effect.gen(function* () {
      const seen: ReadonlyArray<Said> = [
        ["1", "10:00:00Z"],
        ["2", "10:00:01Z"]
      ]
      const after: ReadonlyArray<Said> = [["3", "10:00:02Z"]]
      expect(yield* observedTwice(seen, after, 0, false)).toEqual(["1", "2", "3"])
    }).pipe(Effect.provide(client()))
  )
})

describe("a job whose session is replaced twice", () => {
  it.scoped("§6.3, §7.6 is asked for from its beginning the second time, and shows each event once", () =>
    Effect.gen(function* () {
      const { job, next, peer } = yield* withJob()
      const reading = yield* Effect.fork(Stream.runCollect(job.events))
      for (const seq of [1, 2]) yield* sayer(peer).thought(seq)
      yield* TestClock.adjust(0)
      let last = peer
      // The numbers of a subscribe are those of the first owner's session, which only the first time is the one before.
      for (const [session_id, from_event_seq, texts] of [
        ["t", 2, ["3"]],
        ["u", 0, ["1", "2", "3", "4"]]
      ] as const) {
        yield* last.close(1001, "")
        yield* TestClock.adjust("1 second")
        const again = yield* greet(next, undefined, { session_id })
        const asked = yield* again.expect("job.subscribe")
        expect(asked.payload).toEqual({ job_id: "j", history: true, from_event_seq })
        const subscribed = { request_id: asked.id, job_id: "j", current_status: "running", replayed: true }
        yield* again.send("job.subscribed", subscribed, { session_id })
        for (const [i, text] of texts.entries()) yield* sayer(again).thought(i + 1, text, { session_id })
        const repeat = yield* again.expect("job.submit")
        yield* again.send("job.accepted", { request_id: repeat.id, job_id: "j" }, { session_id })
        yield* TestClock.adjust(0)
        last = again
      }
      yield* last.send("job.result", { final_status: "success" }, { session_id: "u", job_id: "j", event_seq: 5 })
      expect(texts(yield* Fiber.join(reading))).toEqual(["1", "2", "3", "4"])
    }).pipe(Effect.provide(client()))
  )
})

describe("facts of a job whose key may have been repeated", () => {
  it.scoped("§6.3 say so, and in another session the job is attached to from its beginning", () =>
    Effect.gen(function* () {
      const arcp = yield* ArcpClient
      const peer = yield* greet(yield* accepting)
      const { job } = yield* submitted(arcp, peer, "j", { idempotencyKey: "key" })
      const reading = yield* Effect.fork(Stream.runCollect(Stream.take(job.eventsWith({ chunkSize: 1 }), 2)))
      yield* sayer(peer).thought(1)
      yield* sayer(peer).thought(2)
      yield* Fiber.join(reading)
      const facts = yield* arcp.session
      expect(facts?.jobs).toEqual([{ jobId: "j", lastEventSeq: 1, historyFrom: 1, taken: 0, isRepeat: true }])
      for (const session_id of ["s", "other"]) {
        yield* Effect.gen(function* () {
          const later = yield* ArcpClient
          const again = yield* greet(yield* accepting, undefined, { session_id })
          const attaching = yield* Effect.fork(later.attach("j"))
          const from_event_seq = session_id === "s" ? 1 : 0
          expect((yield* again.expect("job.subscribe")).payload).toMatchObject({ history: true, from_event_seq })
          yield* Fiber.interrupt(attaching)
        }).pipe(Effect.scoped, Effect.provide(client({ resume: facts })))
      }
    }).pipe(Effect.provide(client()))
  )
})

describe("a repeated key", () => {
  it.scoped("§7.2, §8.4 of a running job whose chunks come again from the first shows and assembles each once", () =>
    Effect.gen(function* () {
      const features = ["result_chunk", "ack"]
      const arcp = yield* ArcpClient
      const next = yield* accepting
      const peer = yield* greet(next, features)
      const submitting = yield* Effect.fork(arcp.submit("a"))
      const submit = yield* peer.expect("job.submit")
      yield* peer.send("job.accepted", { request_id: submit.id, job_id: "j" }, head)
      const job = yield* Fiber.join(submitting)
      const events = yield* Effect.fork(Stream.runCollect(job.events))
      const chunks =
        (to: Pick<ScriptedPeer, "send">, session_id: string) =>
        (event_seq: number, chunk_seq: number, data: string, more = true) =>
          to.send(
            "job.event",
            { kind: "result_chunk", ts: "t", body: { result_id: "r", chunk_seq, data, encoding: "utf8", more } },
            { session_id, job_id: "j", event_seq }
          )
      yield* chunks(peer, "s")(1, 0, "a")
      yield* chunks(peer, "s")(2, 1, "b")
      yield* TestClock.adjust(0)
      yield* peer.close(1001, "")
      yield* TestClock.adjust("1 second")
      const again = yield* greet(next, features, { session_id: "t" })
      const repeat = yield* again.expect("job.submit")
      yield* again.send("job.accepted", { request_id: repeat.id, job_id: "j" }, { session_id: "t" })
      const chunk = chunks(again, "t")
      yield* chunk(1, 0, "a")
      yield* chunk(2, 1, "b")
      yield* chunk(3, 2, "c", false)
      const end = { final_status: "success", result_id: "r", result_size: 3 }
      yield* again.send("job.result", end, { session_id: "t", job_id: "j", event_seq: 4 })
      expect(yield* job.result).toBe("abc")
      expect(Chunk.size(yield* Fiber.join(events))).toBe(3)
    }).pipe(Effect.provide(client()))
  )

  const steps = Agent.untyped("steps", () =>
    Effect.gen(function* () {
      for (const n of [1, 2, 3]) yield* Job.log(`${n}`)
      yield* Deferred.await(gate("one"))
      for (const n of [4, 5, 6]) yield* Job.log(`${n}`)
      yield* Deferred.await(gate("two"))
      for (const n of [7, 8, 9]) yield* Job.log(`${n}`)
    })
  )
  const auth = { token: Redacted.make("alice-token") }

  for (const [name, before, between] of [
    ["lower", 0, 50],
    ["higher", 50, 0]
  ] as const) {
    it.scopedLive(
      `§6.3, §7.2 of a second owner, whose session is replaced, loses no event where the first owner's numbers are ${name}`,
      () =>
        Effect.gen(function* () {
          resetGates()
          const count = (arcp: ArcpClient["Type"], n: number) =>
            Effect.flatMap(arcp.submit("counter", { count: n }), (job) => job.result)
          const one = yield* ArcpClient.make({ auth })
          yield* count(one, before)
          const key = { idempotencyKey: "key" }
          const first = yield* one.submit("steps", null, key)
          yield* Stream.runDrain(Stream.take(first.events, 4))
          yield* Effect.gen(function* () {
            const faults = yield* Faults
            const two = yield* ArcpClient.make({ auth })
            yield* count(two, between)
            const job = yield* two.submit("steps", null, key)
            const shown: Array<string> = []
            const six = yield* Deferred.make<void>()
            const reading = yield* Effect.fork(
              Stream.runForEach(job.events, ({ body }) => {
                const { message } = body as { readonly message: string }
                shown.push(message)
                return message === "6" ? Deferred.succeed(six, undefined) : Effect.void
              })
            )
            yield* Deferred.succeed(gate("one"), undefined)
            yield* Deferred.await(six)
            const isReplaced = yield* Effect.fork(
              Stream.runHead(Stream.filter(two.status, ({ _tag }) => _tag === "SessionReplaced"))
            )
            yield* faults.refuseConnects(4)
            yield* faults.cut
            yield* Deferred.succeed(gate("two"), undefined)
            yield* Fiber.join(isReplaced)
            yield* job.result
            yield* Fiber.join(reading)
            expect(shown).toEqual(["4", "5", "6", "7", "8", "9"])
          }).pipe(Effect.provide(faulty))
        }).pipe(
          Effect.provide(world({ agents: Layer.mergeAll(agents, steps), runtime: { resumeWindow: 100 } })),
          Effect.timeout("30 seconds")
        )
    )
  }
})
