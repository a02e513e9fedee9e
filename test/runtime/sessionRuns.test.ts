/** How much a session keeps in memory of what it is to be sent next (ARCP 1.1 §6.3, §6.5). */
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { Ids } from "../../src/protocol/Ids.js"
import { Batch } from "../../src/runtime/log/Batch.js"
import { sourceOf } from "../../src/runtime/log/Pump.js"
import { JobLog } from "../../src/runtime/log/JobLog.js"
import { Outbox } from "../../src/runtime/log/Outbox.js"
import { SessionLog } from "../../src/runtime/log/SessionLog.js"
import type { Store } from "../../src/store/Store.js"
import type { Connection } from "../../src/transport/Connection.js"
import { jobRecord, sessionRecord } from "../support/records.js"

/** A session that owns two jobs, which emit in turn. */
const make = () => {
  const session = new SessionLog(sessionRecord("s"), 0)
  const jobs = ["a", "b"].map((jobId) => {
    const job = new JobLog(
      jobRecord(jobId),
      {
        status: "running",
        startedAt: 0,
        attempt: 1,
        budget: undefined,
        cancelled: undefined,
        ownerSessionId: session.sessionId,
        lastJobSeq: 0,
        lastOwnerSeq: 0
      },
      {} as never
    )
    job.store()
    job.sessions.addOwner(session, 0)
    return job
  })
  const emit = (count: number) => {
    for (let n = 0; n < count; n++) {
      const batch = new Batch()
      for (const job of jobs) batch.event(job, "event", `{"kind":"log"}`)
      batch.publish()
    }
  }
  return { emit, session }
}

describe("a session whose jobs emit in turn", () => {
  it.effect("§6.5 is sent what its connection is behind with from memory, also thousands of runs", () =>
    Effect.gen(function* () {
      const { emit, session } = make()
      session.connect(new Outbox({} as Connection, 0, 0, { replies: 10, replyBytes: 1_000_000 }), undefined)
      emit(2_000)
      // A store that is asked anything fails the test.
      const source = sourceOf(session, {
        store: {} as typeof Store.Service,
        ids: yield* Ids,
        wall: () => 0,
        mono: () => 0,
        bounds: { payload: 1_000, result: 1_000 }
      })
      let cursor = 0
      while (cursor < session.seq) {
        const next = source.ready(cursor, session.seq)
        expect(next, `behind ${cursor}`).toBeDefined()
        cursor = next!.cursor
      }
      expect(cursor).toBe(4_000)
    }).pipe(Effect.provide(Ids.layer))
  )

  it("§6.5 keeps no more of a reader that does not move than acknowledgements may be behind", () => {
    const { emit, session } = make()
    session.connect(new Outbox({} as Connection, 0, 0, { replies: 10, replyBytes: 1_000_000 }), undefined)
    emit(10_000)
    expect(session.recent.length).toBe(12_288)
    expect(session.recent.at(-1)!.lastSeq).toBe(20_000)
  })

  it("§6.3 keeps little while no connection has it", () => {
    const { emit, session } = make()
    session.connect(new Outbox({} as Connection, 0, 0, { replies: 10, replyBytes: 1_000_000 }), undefined)
    emit(1_000)
    expect(session.recent.length).toBe(2_000)
    session.disconnect()
    emit(1)
    expect(session.recent.length).toBe(512)
  })
})
