/** `arcp submit`: runs one job and shows what it does. */
import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import { ArcpClient, type ClientError, type JobHandle } from "../client/index.js"
import { type ArcpError, isArcpError } from "../protocol/Errors.js"
import type { JobEvent } from "../protocol/Event.js"
import type { WireLease } from "../protocol/Fields.js"
import { WebSocketClient } from "../transport/node.js"
import { failed, usage } from "./errors.js"
import { readJson } from "./json.js"

const options = {
  agent: Args.text({ name: "AGENT" }).pipe(Args.withDescription("the agent, as name or name@version")),
  url: Options.text("url").pipe(
    Options.withDescription("where the runtime listens"),
    Options.withDefault("ws://127.0.0.1:7777/arcp")
  ),
  token: Options.redacted("token").pipe(Options.withDescription("a bearer token"), Options.optional),
  input: Options.text("input").pipe(Options.withDescription("the input, as JSON or @file"), Options.optional),
  lease: Options.text("lease").pipe(
    Options.withDescription("the capabilities to ask for, as JSON or @file"),
    Options.optional
  ),
  expiresAt: Options.text("expires-at").pipe(
    Options.withDescription("when the lease ends, as 2030-01-01T00:00:00Z"),
    Options.optional
  ),
  key: Options.text("key").pipe(
    Options.withDescription("an idempotency key: the same key and input is the same job"),
    Options.optional
  ),
  json: Options.boolean("json").pipe(Options.withDescription("print events and result as JSON, one a line"))
}

/** One event as a line for people. */
export const line = (event: JobEvent): string => {
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
      return `tool: ${event.body.tool} ${JSON.stringify(event.body.args ?? {})}`
    case "tool_result":
      return event.body.error === undefined
        ? `tool result: ${JSON.stringify(event.body.result ?? null)}`
        : `tool error: ${event.body.error.code}, ${event.body.error.message}`
    case "artifact_ref":
      return `artifact: ${event.body.uri} (${event.body.content_type})`
    case "delegate":
      return `delegates to ${event.body.agent}`
    case "result_chunk":
      return `result: chunk ${event.body.chunk_seq}, ${event.body.data.length} characters`
    case "other":
      return `${event.kind}: ${JSON.stringify(event.body)}`
  }
}

/** What is wrong, for people. */
export const explain = (error: ArcpError | ClientError): string =>
  isArcpError(error) ? `${error.code}: ${error.message}` : error.message

const show = (job: JobHandle<unknown>, json: boolean) =>
  Effect.gen(function* () {
    yield* json
      ? Console.log(JSON.stringify({ type: "accepted", job_id: job.jobId, agent: job.agent, lease: job.lease }))
      : Console.error(`${job.jobId} runs ${job.agent}`)
    yield* job.events.pipe(
      Stream.runForEach((event) =>
        json
          ? Console.log(
              JSON.stringify({ type: "event", seq: event.seq, ts: event.ts, kind: event.kind, body: event.body })
            )
          : Console.error(line(event))
      )
    )
    const result = yield* job.result
    const plain = result instanceof Uint8Array ? { base64: btoa(String.fromCharCode(...result)) } : result
    yield* Console.log(
      json
        ? JSON.stringify({ type: "result", result: plain ?? null })
        : typeof plain === "string"
          ? plain
          : JSON.stringify(plain, null, 2)
    )
  })

export const submit = Command.make("submit", options, (args) =>
  Effect.gen(function* () {
    const input = Option.isNone(args.input) ? undefined : yield* readJson("input", args.input.value)
    const lease = Option.isNone(args.lease) ? undefined : yield* readJson("lease", args.lease.value)
    if (!/^wss?:\/\//.test(args.url) || !URL.canParse(args.url)) {
      return yield* usage("--url: must be a ws:// or wss:// URL")
    }
    const client = ArcpClient.layer({
      client: { name: "arcp", version: "1.1.0" },
      // A program that somebody waits for gives up when nobody answers.
      maxAttempts: 5,
      ...(Option.isNone(args.token) ? {} : { auth: { token: Redacted.make(Redacted.value(args.token.value)) } })
    }).pipe(Layer.provide(WebSocketClient.layer({ url: args.url })))
    yield* Effect.gen(function* () {
      const arcp = yield* ArcpClient
      const job = yield* arcp.submit(args.agent, input, {
        lease: lease as WireLease | undefined,
        expiresAt: Option.getOrUndefined(args.expiresAt),
        idempotencyKey: Option.getOrUndefined(args.key)
      })
      yield* show(job, args.json)
    }).pipe(
      Effect.provide(client),
      Effect.catchAll((error) =>
        Effect.zipRight(
          args.json && isArcpError(error)
            ? Console.log(
                JSON.stringify({ type: "error", code: error.code, message: error.message, retryable: error.retryable })
              )
            : Effect.void,
          Effect.fail(failed(explain(error)))
        )
      )
    )
  })
).pipe(Command.withDescription("Submit a job, show its events, and print its result"))
