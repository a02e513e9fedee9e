/**
 * Submits one job, prints its events while they happen, and reads its result, which the agent streams in pieces.
 *
 * It shows: a typed input and result, a lease that grants what the agent needs and no more, and that a job's events are numbered
 * without gaps and end with exactly one terminal event.
 */
import { NodeRuntime } from "@effect/platform-node"
import { ArcpClient } from "effect-arcp/client"
import type { Event } from "effect-arcp/protocol"
import { Console, Effect, Stream } from "effect"
import { Report, ReportLive } from "./agents.js"
import { claim } from "./support/claim.js"
import { client } from "./support/runtime.js"

const line = (event: Event.JobEvent): string => {
  switch (event._tag) {
    case "thought":
      return `thinks:    ${event.body.text}`
    case "status":
      return `is:        ${event.body.phase}`
    case "tool_call":
      return `calls:     ${event.body.tool} ${JSON.stringify(event.body.args)}`
    case "tool_result":
      return `returned:  ${JSON.stringify(event.body.result)}`
    case "progress":
      return `progress:  ${event.body.current} of ${event.body.total} ${event.body.units}`
    case "metric":
      return `metric:    ${event.body.name} ${event.body.value} ${event.body.unit}`
    case "result_chunk":
      return `result:    piece ${event.body.chunk_seq}`
    default:
      return event.kind
  }
}

const program = Effect.gen(function* () {
  const arcp = yield* ArcpClient
  const job = yield* arcp.submit(
    Report,
    { topic: "resumable streams", sections: 3 },
    { lease: { "tool.call": ["text.draft"], "cost.budget": ["USD:0.50"] } }
  )
  yield* Console.log(`${job.jobId} runs ${job.agent} under ${JSON.stringify(job.lease)}\n`)

  const seen: Array<Event.JobEvent> = []
  yield* Stream.runForEach(job.events, (event) => {
    seen.push(event)
    return Console.log(`${String(event.seq).padStart(3)}  ${line(event)}`)
  })
  const text = yield* job.result
  yield* Console.log(`\n${text}`)

  yield* claim(
    "the events are numbered without a gap",
    seen.every(({ seq }, i) => seq === seen[0]!.seq + i)
  )
  const count = (kind: Event.JobEvent["_tag"]) => seen.filter(({ _tag }) => _tag === kind).length
  yield* claim("each section was drafted by a tool call of its own", count("tool_call") === 3)
  yield* claim(
    "the result came in pieces, and is all of them",
    count("result_chunk") === 3 && text.split("\n").length === 4
  )
})

NodeRuntime.runMain(program.pipe(Effect.provide(client(ReportLive)), Effect.timeout("20 seconds")))
