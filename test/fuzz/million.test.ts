/** The short form of `npm run fuzz`: each of its lanes for some hundred frames, and what its checks notice. */
import { describe, expect, it } from "@effect/vitest"
import { eventKinds, clientTypes, corpusOf, runtimeTypes } from "../../scripts/fuzz/corpus.js"
import { clientFrame, type Known, nextType } from "../../scripts/fuzz/frames.js"
import { isFlat, perConversation, runLane } from "../../scripts/fuzz/lane.js"
import { type LaneName, laneNames, lanes } from "../../scripts/fuzz/lanes.js"
import { type Frame, readClient, readRuntime } from "../../scripts/fuzz/legal.js"
import { spoil, spoilText, type Tree, written } from "../../scripts/fuzz/mutate.js"
import { Account, askedBy } from "../../scripts/fuzz/owed.js"
import { randomOf } from "../../scripts/fuzz/random.js"
import { Event, Message } from "../../src/protocol/index.js"
import { times } from "../support/properties.js"

/** Frames of each lane, as many as take a second or two. */
const frames: Readonly<Record<LaneName, number>> = {
  memory: 800,
  bounded: 128,
  sqlite: 320,
  socket: 256,
  client: 640,
  "client-socket": 64
}

describe.concurrent("lanes of the fuzzer", () => {
  it.each(laneNames)("%s: nothing dies, hangs, stays behind or is answered wrongly", async (name) => {
    const outcome = await runLane(lanes[name].make, {
      seed: 5,
      from: 0,
      step: 1,
      frames: frames[name] * times,
      millis: 100_000 * times,
      rest: Number.POSITIVE_INFINITY,
      begins: () => undefined,
      slack: 10
    })
    expect(outcome.problems).toEqual([])
    expect(outcome.frames).toBeGreaterThanOrEqual(frames[name])
    expect(outcome.answers).toBeGreaterThan(outcome.frames / 20)
    expect(outcome.next % perConversation).toBe(0)
  })
})

const known: Known = {
  bearer: "secret-of-alice",
  session: "sess_1",
  token: "rt_1",
  lastSeq: 3,
  jobs: ["job_1"],
  foreign: ["job_2"],
  artifacts: ["art_1"],
  cursor: undefined,
  requests: []
}

describe("what the fuzzer sends", () => {
  it("§5 every message and every body that the protocol has, with the fields of its Schema", () => {
    expect(clientTypes).toEqual(Object.keys(Message.clientMessages))
    expect(runtimeTypes).toEqual(Object.keys(Message.runtimeMessages))
    expect(eventKinds).toEqual(Object.keys(Event.bodies))
    const corpus = corpusOf(5)
    const random = randomOf(5)
    const types = new Set(Array.from({ length: 3_000 }, () => nextType(random)))
    expect([...types].toSorted()).toEqual([...clientTypes].toSorted())
    const fields = new Set<string>()
    for (let i = 0; i < 400; i++)
      for (const field of Object.keys(clientFrame("job.submit", corpus, known, random)["payload"] as Tree))
        fields.add(field)
    expect([...fields].toSorted()).toEqual(Object.keys(Message.clientMessages["job.submit"].fields).toSorted())
  })

  it("is the same for the same seed, and spoilt at every field", () => {
    const spoilt = (seed: number) => {
      const random = randomOf(seed)
      const tree: Tree = {
        arcp: "1.1",
        id: "m",
        type: "job.submit",
        payload: { agent: "echo", input: { a: [1, { b: 2 }] } }
      }
      spoil(tree, random)
      return random.chance(0.2) ? spoilText(written(tree), random) : written(tree)
    }
    const texts = Array.from({ length: 3_000 }, (_, seed) => spoilt(seed))
    expect(Array.from({ length: 3_000 }, (_, seed) => spoilt(seed))).toEqual(texts)
    expect(new Set(texts).size).toBeGreaterThan(1_500)
    const whole = texts.flatMap((text): ReadonlyArray<unknown> => {
      try {
        return [JSON.parse(text)]
      } catch {
        return []
      }
    })
    for (const path of [
      ["arcp"],
      ["id"],
      ["type"],
      ["payload"],
      ["payload", "agent"],
      ["payload", "input"],
      ["payload", "input", "a"]
    ]) {
      const values = new Set(
        whole.map((tree) => JSON.stringify(path.reduce<unknown>((at, key) => (at as Tree | undefined)?.[key], tree)))
      )
      expect([path.join("."), values.size > 10]).toEqual([path.join("."), true])
    }
    expect(texts.some((text) => text.includes("1e400"))).toBe(true)
    expect(texts.some((text) => /"agent":.*"agent":/.test(text))).toBe(true)
    expect(whole.length).toBeGreaterThan(2_000)
    expect(whole.length).toBeLessThan(3_000)
  })
})

const id = "01M8K5Z8QDY4EKY4KX8D3BAM6C"
const runtimeText = (changes: object) =>
  JSON.stringify({
    arcp: "1.1",
    id,
    type: "job.event",
    session_id: "s",
    job_id: "j",
    event_seq: 1,
    payload: { kind: "thought", body: { text: "x" } },
    ...changes
  })
const error = (payload: object) =>
  runtimeText({
    type: "session.error",
    job_id: undefined,
    event_seq: undefined,
    payload: { code: "INVALID_REQUEST", message: "no", retryable: false, ...payload }
  })

describe("what the fuzzer checks of frames", () => {
  it("§5, §12 takes legal ones, and notices each field that is not", () => {
    expect(readRuntime(runtimeText({}), 1_000)).toMatchObject({ type: "job.event" })
    expect(readRuntime(error({}), 1_000)).toMatchObject({ type: "session.error" })
    const illegal: ReadonlyArray<readonly [text: string, what: RegExp]> = [
      ["{", /no JSON object/],
      ["[]", /no JSON object/],
      [runtimeText({ arcp: "2" }), /arcp/],
      [runtimeText({ id: "m1" }), /no ULID/],
      [runtimeText({ more: 1 }), /a field more/],
      [runtimeText({ trace_id: null }), /trace_id is null/],
      [runtimeText({ trace_id: "0".repeat(32) }), /trace_id/],
      [runtimeText({ session_id: undefined }), /no session_id/],
      [runtimeText({ job_id: undefined }), /no job_id/],
      [runtimeText({ event_seq: undefined }), /number/],
      [runtimeText({ event_seq: 0 }), /event_seq/],
      [runtimeText({ payload: { kind: "thought", body: {} } }), /no thought/],
      [runtimeText({ payload: [] }), /payload/],
      [runtimeText({ type: "job.nothing", event_seq: undefined }), /not known/],
      [runtimeText({ payload: { kind: "thought", body: { text: "x".repeat(2_000) } } }), /too large/],
      [`${runtimeText({}).slice(0, -1)}, "extensions": {"a": "\ud800"}}`, /half a character/],
      [error({ message: "two\nlines" }), /message/],
      [error({ message: "the token secret-of-alice" }), /secret/],
      [error({ code: "INTERNAL_ERROR" }), /not retryable/],
      [error({ code: "LEASE_EXPIRED", retryable: true }), /never retryable/],
      [error({ retryable: undefined }), /retryable/]
    ]
    for (const [text, what] of illegal) expect(readRuntime(text, 1_000)).toMatch(what)
    const ping = (changes: object) =>
      JSON.stringify({ arcp: "1.1", id, type: "session.ping", payload: { nonce: "n" }, ...changes })
    expect(readClient(ping({}), 1_000)).toMatchObject({ type: "session.ping" })
    for (const changes of [{ id: "x" }, { event_seq: 1 }, { type: "job.event" }, { payload: {} }, { payload: null }])
      expect(readClient(ping(changes), 1_000)).toMatch(/illegal/)
  })

  it("§5 what each text asks for, and that an answer has been asked for once", () => {
    const text = (frame: object) => JSON.stringify({ arcp: "1.1", id: "m1", ...frame })
    expect(askedBy("{")).toEqual({ id: undefined, must: true })
    expect(askedBy("[".repeat(65) + "]".repeat(65))).toEqual({ id: undefined, must: true })
    expect(askedBy(text({ id: "" }))).toEqual({ id: undefined, must: true })
    expect(askedBy(text({ type: 1 }))).toEqual({ id: "m1", must: true })
    expect(askedBy(text({ type: "job.nothing" }))).toEqual({ id: "m1", must: true })
    expect(askedBy(text({ type: "x-vendor.acme.hello" }))).toEqual({ id: "m1", must: false })
    expect(askedBy(text({ type: "session.ack", payload: {} }))).toEqual({ id: "m1", must: false })
    expect(askedBy(text({ type: "session.bye", payload: {} }))).toEqual({ id: "m1", must: false, ends: true })
    expect(askedBy(text({ type: "session.ping", payload: { nonce: "n" } }))).toEqual({
      id: "m1",
      must: true,
      nonce: "n"
    })

    const frame = (type: string, payload: Frame["payload"]): Frame => ({ id, type, payload })
    const account = new Account()
    account.ask(askedBy(text({ type: "job.submit" })))
    account.ask(askedBy(text({ id: "m2", type: "session.ping", payload: { nonce: "n" } })))
    account.ask(askedBy("{"))
    expect(account.owed).toBe(3)
    expect(account.debts).toEqual(["m1", "m2", "1 unreadable"])
    expect(account.paid(frame("job.accepted", { request_id: "m1" }))).toBeUndefined()
    expect(account.paid(frame("job.accepted", { request_id: "m1" }))).toBe("unasked")
    expect(account.paid(frame("session.pong", { ping_nonce: "other" }))).toBe("unasked")
    expect(account.paid(frame("session.pong", { ping_nonce: "n" }))).toBeUndefined()
    expect(account.paid(frame("session.pong", { ping_nonce: "n" }))).toBe("unasked")
    expect(account.paid(frame("session.error", {}))).toBeUndefined()
    expect(account.paid(frame("session.error", {}))).toBe("end")
    expect(account.owed).toBe(0)
  })

  it("tells a heap that is flat from one that grows", () => {
    const heaps = (at: (i: number) => number) => Array.from({ length: 12 }, (_, i) => at(i) * 1_048_576)
    expect(isFlat(heaps((i) => 40 + (i % 3)))).toBe(true)
    expect(isFlat(heaps((i) => 40 + 8 * i))).toBe(false)
  })
})
