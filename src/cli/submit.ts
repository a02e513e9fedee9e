/** `arcp submit`: runs one job and shows what it does. */
import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Encoding from "effect/Encoding"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { Withheld } from "../authority/index.js"
import { ArcpClient, type ClientError, type JobHandle } from "../client/index.js"
import { type ArcpError, isArcpError } from "../protocol/Errors.js"
import type { JobEvent } from "../protocol/Event.js"
import type { WireLease } from "../protocol/Fields.js"
import { packageVersion } from "../protocol/Package.js"
import { WebSocketClient } from "../transport/node.js"
import { failed, usage } from "./errors.js"
import { readJson } from "./json.js"
import { submitToken } from "./tokens.js"
import { json, visible, visibleLines } from "./visible.js"

const options = {
  agent: Args.text({ name: "AGENT" }).pipe(Args.withDescription("the agent, as name or name@version")),
  tokenFile: Options.text("token-file").pipe(
    Options.withDescription("a file that holds the bearer token; the environment variable ARCP_TOKEN may hold it too"),
    Options.optional
  ),
  token: Options.redacted("token").pipe(
    Options.withDescription(
      "the bearer token, for trials: other users of this machine can see it until the program has overwritten its title"
    ),
    Options.optional
  ),
  url: Options.text("url").pipe(
    Options.withDescription("where the runtime listens"),
    Options.withDefault("ws://127.0.0.1:7777/arcp")
  ),
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

export const submit = Command.make("submit", options, (args) =>
  Effect.gen(function* () {
    const input = Option.isNone(args.input) ? undefined : yield* readJson("input", args.input.value)
    const lease = Option.isNone(args.lease) ? undefined : yield* readJson("lease", args.lease.value)
    if (!/^wss?:\/\//.test(args.url) || !URL.canParse(args.url)) {
      return yield* usage("--url: must be a ws:// or wss:// URL")
    }
    const token = yield* submitToken(args)
    const client = ArcpClient.layer({
      client: { name: "arcp", version: packageVersion },
      // A program that somebody waits for gives up when nobody answers.
      maxAttempts: 5,
      ...(token === undefined ? {} : { auth: { token } })
    }).pipe(Layer.provide(WebSocketClient.layer({ url: args.url })))
    yield* Effect.gen(function* () {
      const arcp = yield* ArcpClient
      const asked: Asked = {
        lease: lease as WireLease | undefined,
        expiresAt: Option.getOrUndefined(args.expiresAt)
      }
      const job = yield* arcp.submit(args.agent, input, { ...asked, idempotencyKey: Option.getOrUndefined(args.key) })
      yield* show(job, asked, args.json)
    }).pipe(
      Effect.provide(client),
      Effect.catchAll((error) =>
        Effect.zipRight(
          args.json && isArcpError(error)
            ? Console.log(json({ type: "error", code: error.code, message: error.message, retryable: error.retryable }))
            : Effect.void,
          Effect.fail(
            failed(
              token === undefined && isArcpError(error) && error.code === "UNAUTHENTICATED"
                ? `${explain(error)}; give --token-file FILE, set ARCP_TOKEN, or give --token TOKEN`
                : explain(error)
            )
          )
        )
      )
    )
  })
).pipe(Command.withDescription("Submit a job, show its events, and print its result"))
