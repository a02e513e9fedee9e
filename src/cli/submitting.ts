/** What `arcp submit` does: runs one job and shows what becomes of it. */
import * as Console from "effect/Console"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Encoding from "effect/Encoding"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Withheld from "../authority/Withheld.js"
import { ArcpClient, type ClientError, type JobHandle } from "../client/index.js"
import { type ArcpError, isArcpError } from "../protocol/Errors.js"
import type { JobEvent } from "../protocol/Event.js"
import type { WireLease } from "../protocol/Fields.js"
import { packageVersion } from "../protocol/Package.js"
import { Exit, failed, unreachable } from "./errors.js"
import { readJson } from "./json.js"
import { webSocket } from "./optional.js"
import { Signals } from "./signals.js"
import type { SubmitArgs } from "./submitOptions.js"
import { submitToken } from "./tokens.js"
import { agentName, expiresAt, lease, notEmpty, webSocketUrl, wholeNumber } from "./values.js"
import { json, visible, visibleLines } from "./visible.js"

const told = (event: JobEvent): string => {
  switch (event._tag) {
    case "log":
      return `${event.body.level === "info" ? "" : `[${event.body.level}] `}${event.body.message}`
    case "thought":
      return `thought: ${event.body.text}`
    case "status":
      return `status: ${event.body.phase}${event.body.message === undefined ? "" : `, ${event.body.message}`}`
    case "metric":
      return `metric: ${event.body.name} = ${event.body.value}${event.body.unit === undefined ? "" : ` ${event.body.unit}`}`
    case "progress":
      return `progress: ${event.body.current}${event.body.total === undefined ? "" : `/${event.body.total}`}${
        event.body.units === undefined ? "" : ` ${event.body.units}`
      }${event.body.message === undefined ? "" : `, ${event.body.message}`}`
    case "tool_call":
      return `tool: ${event.body.tool} ${json(event.body.args ?? {})}`
    case "tool_result":
      return event.body.error === undefined
        ? `tool result: ${json(event.body.result ?? null)}`
        : `tool error: ${event.body.error.code}, ${event.body.error.message}`
    case "artifact_ref":
      return `artifact: ${event.body.uri} (${event.body.content_type})`
    case "delegate":
      return `delegates to ${event.body.agent}`
    case "result_chunk":
      return `result: chunk ${event.body.chunk_seq}, ${event.body.data.length} characters`
    case "other":
      return `${event.kind}: ${json(event.body)}`
  }
}

/** One event as a line for people; what it says is the agent's, and moves no cursor and fakes no line. */
export const line = (event: JobEvent): string => visible(told(event))

/** A result for stdout: text as it is for a program that reads it, and harmless where it goes to a terminal. */
export const resultText = (result: unknown, terminal: boolean): string =>
  typeof result !== "string" ? json(printable(result), 2) : terminal ? visibleLines(result) : result

const printable = (result: unknown): unknown =>
  result instanceof Uint8Array ? { base64: Encoding.encodeBase64(result) } : result

/** What is wrong, for people. */
export const explain = (error: ArcpError | ClientError): string =>
  visible(isArcpError(error) ? `${error.code}: ${error.message}` : error.message)

/** What was asked for. */
interface Asked {
  readonly lease: WireLease | undefined
  readonly expiresAt: string | undefined
}

const show = (job: JobHandle<unknown>, asked: Asked, asJson: boolean) =>
  Effect.gen(function* () {
    yield* asJson
      ? Console.log(json({ type: "accepted", job_id: job.jobId, agent: job.agent, lease: job.lease }))
      : Console.error(visible(`${job.jobId} runs ${job.agent}`))
    const withheld = Withheld.describe(
      {
        lease: asked.lease,
        constraints: asked.expiresAt === undefined ? undefined : { expires_at: asked.expiresAt }
      },
      { lease: job.lease, constraints: job.leaseConstraints }
    )
    for (const line of withheld) yield* Console.error(visible(`arcp: the runtime narrowed the lease: ${line}`))
    yield* job.events.pipe(
      Stream.runForEach((event) =>
        asJson
          ? Console.log(json({ type: "event", seq: event.seq, ts: event.ts, kind: event.kind, body: event.body }))
          : Console.error(line(event))
      )
    )
    const result = yield* job.result
    const terminal = yield* Effect.sync(() => process.stdout.isTTY)
    yield* Console.log(
      asJson ? json({ type: "result", result: printable(result) ?? null }) : resultText(result, terminal)
    )
  })

/** How long one attempt to connect, and then the welcome, may take. */
const longestAttempt = Duration.seconds(5)

/** How to see a job again that goes on without this program. */
const seenAgain = (job: JobHandle<unknown>, anonymous: boolean): string =>
  anonymous
    ? "it was submitted without a token, so it cannot be seen again"
    : `to see it again, run the same command with --key ${job.idempotencyKey}`

/** What becomes of the job when the program is told to stop, and how to see it again. */
const farewell = (job: JobHandle<unknown> | undefined, submitted: boolean, anonymous: boolean): string =>
  job === undefined
    ? submitted
      ? "stopped: the job has not been accepted yet, and may still run"
      : "stopped: no job was submitted"
    : `stopped: ${job.jobId} goes on; ${seenAgain(job, anonymous)}`

/** How the program ends for an error of the client. */
const exitOf = (error: ArcpError | ClientError, job: JobHandle<unknown> | undefined, anonymous: boolean): Exit => {
  if (!isArcpError(error) && error._tag === "SessionEnded" && error.reason === "gave_up") {
    return unreachable(
      job === undefined
        ? explain(error)
        : `${explain(error)}; ${visible(`${job.jobId} may go on; ${seenAgain(job, anonymous)}`)}`
    )
  }
  return failed(
    anonymous && isArcpError(error) && error.code === "UNAUTHENTICATED"
      ? `${explain(error)}; give --token-file FILE, set ARCP_TOKEN, or give --token TOKEN`
      : explain(error)
  )
}

/** Submits the job and waits for its end. */
export const submitJob = (args: SubmitArgs) =>
  Effect.gen(function* () {
    // First, so that no later failure leaves it in the environment.
    const token = yield* submitToken(args)
    const agent = yield* agentName(args.agent)
    const url = yield* webSocketUrl("url", args.url)
    const input = Option.isNone(args.input) ? undefined : yield* readJson("input", args.input.value)
    const asked: Asked = {
      lease: Option.isNone(args.lease)
        ? undefined
        : yield* Effect.flatMap(readJson("lease", args.lease.value), (json) => lease("lease", json)),
      expiresAt: Option.isNone(args.expiresAt) ? undefined : yield* expiresAt("expires-at", args.expiresAt.value)
    }
    const idempotencyKey = Option.isNone(args.key)
      ? undefined
      : yield* notEmpty("key", args.key.value, "an idempotency key")
    const patience = yield* wholeNumber("connect-timeout", args.connectTimeout, 1, 3600)
    const signals = yield* Signals
    const client = ArcpClient.layer({
      client: { name: "arcp", version: packageVersion },
      connectTimeout: longestAttempt,
      handshakeTimeout: longestAttempt,
      // A program that a person waits for gives up when no runtime answers.
      maxAttempts: 5,
      ...(token === undefined ? {} : { auth: { token } })
    }).pipe(
      Layer.provide(Layer.unwrapEffect(Effect.map(webSocket, ({ WebSocketClient }) => WebSocketClient.layer({ url }))))
    )
    let submitted = false
    let job: JobHandle<unknown> | undefined
    yield* Effect.gen(function* () {
      const arcp = yield* ArcpClient
      yield* Effect.timeoutFail(arcp.connected, {
        duration: Duration.seconds(patience),
        onTimeout: () =>
          unreachable(
            `no session with ${url.replace(/\/\/[^/?#]*@/, "//")} within ${patience} seconds: is it an ARCP runtime?`
          )
      })
      submitted = true
      job = yield* arcp.submit(agent, input, { ...asked, idempotencyKey })
      yield* show(job, asked, args.json)
    }).pipe(
      Effect.onInterrupt(() =>
        signals.received() === undefined
          ? Effect.void
          : Console.error(visible(`arcp: ${farewell(job, submitted, token === undefined)}`))
      ),
      Effect.provide(client),
      Effect.catchAll((error) => {
        if (error instanceof Exit) return Effect.fail(error)
        const told =
          args.json && isArcpError(error)
            ? Console.log(json({ type: "error", code: error.code, message: error.message, retryable: error.retryable }))
            : Effect.void
        return Effect.zipRight(told, Effect.fail(exitOf(error, job, token === undefined)))
      })
    )
  })
