/**
 * Every message of ARCP 1.1 by type and direction: decoding a raw envelope into a typed message, and making envelopes.
 */
import * as Either from "effect/Either"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import type * as AST from "effect/SchemaAST"
import * as SchemaAST from "effect/SchemaAST"
import * as Artifact from "./Artifact.js"
import * as Envelope from "./Envelope.js"
import { InvalidRequest, oneLine } from "./Errors.js"
import * as Event from "./Event.js"
import * as Job from "./Job.js"
import * as Session from "./Session.js"

/**
 * What a client sends: message type to payload schema.
 *
 * @since 0.1.0
 * @category constants
 */
export const clientMessages = {
  "session.hello": Session.Hello,
  "session.resume": Session.Resume,
  "session.ping": Session.Ping,
  "session.pong": Session.Pong,
  "session.ack": Session.Ack,
  "session.list_jobs": Session.ListJobs,
  "session.close": Session.Close,
  "session.bye": Session.Close,
  "job.submit": Job.Submit,
  "job.cancel": Job.Cancel,
  "job.subscribe": Job.Subscribe,
  "job.unsubscribe": Job.Unsubscribe,
  "artifact.put": Artifact.Put,
  "artifact.fetch": Artifact.Fetch,
  "artifact.release": Artifact.Release
} as const

/**
 * What a runtime sends: message type to payload schema.
 *
 * @since 0.1.0
 * @category constants
 */
export const runtimeMessages = {
  "session.welcome": Session.Welcome,
  "session.ping": Session.Ping,
  "session.pong": Session.Pong,
  "session.jobs": Session.Jobs,
  "session.closed": Session.Closed,
  "session.bye": Session.Close,
  "session.error": Session.SessionError,
  "job.accepted": Job.Accepted,
  "job.cancelled": Job.CancelledReply,
  "job.event": Event.EventPayload,
  "job.result": Job.Result,
  "job.error": Job.JobError,
  "job.subscribed": Job.Subscribed,
  "job.unsubscribed": Job.Unsubscribed,
  "artifact.ref": Artifact.Ref,
  "artifact.data": Artifact.Data,
  "artifact.released": Artifact.Released
} as const

/**
 * A decoded message of each type of a table, with its envelope's fields.
 *
 * @since 0.1.0
 * @category types
 */
export type Messages<Table extends Record<string, Schema.Schema.Any>> = {
  readonly [K in keyof Table]: {
    /** The message's type, such as `job.submit`. */
    readonly type: K
    /** The envelope that it came in. */
    readonly envelope: Envelope.RawEnvelope
    /** The payload, decoded. */
    readonly payload: Schema.Schema.Type<Table[K]>
  }
}[keyof Table]

/**
 * A decoded message from a client. Branch on `type`.
 *
 * @since 0.1.0
 * @category models
 */
export type ClientMessage = Messages<typeof clientMessages>

/**
 * The type of a message from a client.
 *
 * @since 0.1.0
 * @category models
 */
export type ClientMessageType = ClientMessage["type"]

/**
 * A decoded message from a runtime. Branch on `type`.
 *
 * @since 0.1.0
 * @category models
 */
export type RuntimeMessage = Messages<typeof runtimeMessages>

/**
 * The type of a message from a runtime.
 *
 * @since 0.1.0
 * @category models
 */
export type RuntimeMessageType = RuntimeMessage["type"]

/**
 * The payload of a client's message.
 *
 * @since 0.1.0
 * @category types
 */
export type ClientPayload<T extends ClientMessageType> = Schema.Schema.Type<(typeof clientMessages)[T]>

/**
 * The payload of a runtime's message.
 *
 * @since 0.1.0
 * @category types
 */
export type RuntimePayload<T extends RuntimeMessageType> = Schema.Schema.Type<(typeof runtimeMessages)[T]>

type Decoder = (u: unknown) => Either.Either<unknown, ParseResult.ParseError>

const compile = (table: Record<string, Schema.Schema.Any>): ReadonlyMap<string, Decoder> =>
  new Map(
    Object.entries(table).map(([type, schema]) => [
      type,
      Schema.decodeUnknownEither(schema as Schema.Schema<unknown, unknown>)
    ])
  )

const clientDecoders = compile(clientMessages)
const runtimeDecoders = compile(runtimeMessages)

/**
 * Whether a client sends messages of this type.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isClientType = (type: string): type is ClientMessageType => clientDecoders.has(type)

/**
 * Whether a runtime sends messages of this type.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isRuntimeType = (type: string): type is RuntimeMessageType => runtimeDecoders.has(type)

const decodeWith = (
  decoders: ReadonlyMap<string, Decoder>,
  envelope: Envelope.RawEnvelope
): Either.Either<unknown, InvalidRequest> => {
  const decoder = decoders.get(envelope.type)
  if (decoder === undefined) {
    return Either.left(
      new InvalidRequest({ message: `type: ${oneLine(envelope.type.slice(0, 64))} is not known here` })
    )
  }
  const decoded = decoder(envelope.payload)
  return Either.isRight(decoded)
    ? Either.right({ type: envelope.type, envelope, payload: decoded.right })
    : Either.left(new InvalidRequest({ message: describe(decoded.left, "payload") }))
}

/**
 * Decodes what a client sent; an unknown type, a payload that breaks its schema or an unknown priority is `INVALID_REQUEST` naming the
 * field.
 *
 * @since 0.1.0
 * @category decoding
 */
export const decodeClient = (envelope: Envelope.RawEnvelope): Either.Either<ClientMessage, InvalidRequest> => {
  const { priority } = envelope
  return priority === undefined || priority === null || Envelope.isPriority(priority)
    ? (decodeWith(clientDecoders, envelope) as Either.Either<ClientMessage, InvalidRequest>)
    : Either.left(new InvalidRequest({ message: `priority: must be one of ${Envelope.priorities.join(", ")}` }))
}

/**
 * Decodes what a runtime sent; an unknown type or a payload that breaks its schema is `INVALID_REQUEST` naming the field. An unknown
 * priority is left to `Envelope.priorityOf`, which ignores it.
 *
 * @since 0.1.0
 * @category decoding
 */
export const decodeRuntime = (envelope: Envelope.RawEnvelope): Either.Either<RuntimeMessage, InvalidRequest> =>
  decodeWith(runtimeDecoders, envelope) as Either.Either<RuntimeMessage, InvalidRequest>

/** What a schema expects, in words: never the schema itself. */
const expected = (ast: AST.AST): string => {
  const description = SchemaAST.getDescriptionAnnotation(ast)
  if (ast._tag !== "StringKeyword" && ast._tag !== "NumberKeyword" && description._tag === "Some") {
    return description.value
  }
  switch (ast._tag) {
    case "StringKeyword":
      return "a string"
    case "NumberKeyword":
      return "a number"
    case "BooleanKeyword":
      return "true or false"
    case "TupleType":
      return "an array"
    case "TypeLiteral":
      return "an object"
    case "Literal":
      return typeof ast.literal === "bigint" ? `${ast.literal}n` : JSON.stringify(ast.literal)
    case "Union": {
      const members = [...new Set(ast.types.filter((t) => t._tag !== "UndefinedKeyword").map(expected))]
      return members.length === 1 ? members[0]! : `one of ${members.join(", ")}`
    }
    case "Refinement":
      return expected(ast.from)
    case "Transformation":
      return expected(ast.to)
    default:
      return "another value"
  }
}

const isNull = (issue: ParseResult.ParseIssue): boolean =>
  issue._tag === "Type" &&
  (issue.ast._tag === "UndefinedKeyword" || (issue.ast._tag === "Literal" && issue.ast.literal === null))

const leaf = (
  issue: ParseResult.ParseIssue,
  path: ReadonlyArray<PropertyKey>
): { readonly path: ReadonlyArray<PropertyKey>; readonly text: string } => {
  switch (issue._tag) {
    case "Pointer":
      return leaf(issue.issue, [...path, ...(Array.isArray(issue.path) ? issue.path : [issue.path as PropertyKey])])
    case "Composite": {
      const issues = issue.issues
      if (issue.ast._tag === "Union") {
        // Of a field that may be null, what is wrong inside it is told.
        const inner = (Array.isArray(issues) ? issues : [issues]).filter((inner) => !isNull(inner))
        return inner.length === 1 && inner[0]._tag !== "Type"
          ? leaf(inner[0], path)
          : { path, text: `must be ${expected(issue.ast)}` }
      }
      return leaf((Array.isArray(issues) ? issues[0] : issues) as ParseResult.ParseIssue, path)
    }
    case "Refinement":
      return issue.kind === "From" ? leaf(issue.issue, path) : { path, text: `must be ${expected(issue.ast)}` }
    case "Transformation":
      return leaf(issue.issue, path)
    case "Missing":
      return { path, text: "is missing" }
    case "Unexpected":
      return { path, text: "is not allowed" }
    default:
      return { path, text: `must be ${expected(issue.ast)}` }
  }
}

/** @internal One line that names the field and what it should be; no value and no schema is printed. */
export const describe = (error: ParseResult.ParseError, root: string): string => {
  const { path, text } = leaf(error.issue, [])
  const where = [root, ...path.map((key) => String(key).slice(0, 64))].join(".")
  return oneLine(`${where}: ${text}`)
}

/**
 * The head fields of an envelope that is made here.
 *
 * @since 0.1.0
 * @category models
 */
export interface Head {
  /** The message's id, 1 to 256 characters. */
  readonly id: string
  /** The session; absent before the welcome. */
  readonly session_id?: string | undefined
  /** 32 lower-case hex digits (§11). */
  readonly trace_id?: string | undefined
  /** The job that the message is about. */
  readonly job_id?: string | undefined
  /** The number of the event in the session (§8.3). */
  readonly event_seq?: number | undefined
  /** How urgent the sender says it is: a hint. */
  readonly priority?: Envelope.Priority | undefined
  /** Metadata by extension name. */
  readonly extensions?: Envelope.Json | undefined
}

const make = (type: string, head: Head, payload: object): Envelope.RawEnvelope => ({
  arcp: Envelope.version,
  id: head.id,
  type,
  ...(head.session_id === undefined ? {} : { session_id: head.session_id }),
  ...(head.trace_id === undefined ? {} : { trace_id: head.trace_id }),
  ...(head.job_id === undefined ? {} : { job_id: head.job_id }),
  ...(head.event_seq === undefined ? {} : { event_seq: head.event_seq }),
  ...(head.priority === undefined ? {} : { priority: head.priority }),
  ...(head.extensions === undefined ? {} : { extensions: head.extensions }),
  payload: payload as Envelope.Json
})

/**
 * A client's message as an envelope.
 *
 * @since 0.1.0
 * @category constructors
 */
export const client = <T extends ClientMessageType>(
  type: T,
  head: Head,
  payload: ClientPayload<T>
): Envelope.RawEnvelope => make(type, head, payload)

/**
 * A runtime's message as an envelope.
 *
 * @since 0.1.0
 * @category constructors
 */
export const runtime = <T extends RuntimeMessageType>(
  type: T,
  head: Head,
  payload: RuntimePayload<T>
): Envelope.RawEnvelope => make(type, head, payload)
