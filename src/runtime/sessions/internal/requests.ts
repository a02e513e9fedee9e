/** Reading and answering the requests of one connection: what needs no service. */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Envelope from "../../../protocol/Envelope.js"
import { type ArcpError, InternalError, InvalidRequest } from "../../../protocol/Errors.js"
import type { Feature } from "../../../protocol/Features.js"
import type { ClientMessage } from "../../../protocol/Message.js"
import type { ResumeRequest } from "../../../protocol/Session.js"
import { BadFrame, type Frame, type Inbound } from "../../../transport/Connection.js"
import type { Deadline } from "../../kernel/Deadlines.js"
import type { MeterShape } from "../../kernel/Metrics.js"
import type { Attached } from "../Sessions.js"
import type { Link } from "../../log/Link.js"
import type { LiveSession } from "../../log/Model.js"
import type { Pace } from "./pace.js"

/** What one connection has come to. */
export interface State {
  attached: Attached | undefined
  /** The hello or the resume that has come: from then on the peer waits for the runtime. */
  greeted: Envelope.RawEnvelope | undefined
  /** Set once the connection is to be read no further. */
  done: boolean
  /** Requests that run beside the reading. */
  inFlight: number
  /** One artifact request at a time, in their order: at most one large reply waits to be sent. */
  artifacts: Effect.Semaphore | undefined
  /** One listing at a time: at most one large page waits to be sent. */
  listings: Effect.Semaphore | undefined
  /** Puts that run beside the reading; each holds its bytes. */
  puts: number
  /** Ends the connection when the credential that opened it runs out. */
  expiry: Deadline | undefined
  readonly pace: Pace
}

/** A connection that has just come. */
export const begin = (pace: Pace): State => ({
  attached: undefined,
  greeted: undefined,
  done: false,
  inFlight: 0,
  artifacts: undefined,
  listings: undefined,
  puts: 0,
  expiry: undefined,
  pace
})

/** Waits until there is room for replies; a connection that ends meanwhile is read no further. */
export const drained = ({ link }: Attached, state: State, reached: MeterShape["reached"]): Effect.Effect<void> => {
  const { full } = link
  if (full !== undefined) reached(full)
  return Effect.raceFirst(
    link.room,
    Effect.zipRight(
      link.connection.closed,
      Effect.sync(() => {
        state.done = true
        link.abandon()
      })
    )
  )
}

/** What a reply that only names things may have, in bytes. */
export const smallReply = 1_024

/** What a reply that shows a lease may have, in bytes; `Lease.maxLeaseLength` bounds it. */
export const leaseReply = 32_768

/** The envelope of a frame, or why there is none. */
export const readFrame = (
  frame: Inbound,
  limits: Envelope.ReadLimits
): Either.Either<Envelope.RawEnvelope, Envelope.Unreadable> =>
  frame instanceof BadFrame
    ? Either.left({ error: new InvalidRequest({ message: `message: ${frame.reason}` }), requestId: undefined })
    : typeof frame === "string"
      ? Envelope.fromText(frame, limits)
      : Envelope.fromUnknown(frame)

/** What a hello or a resume asks to resume (§6.3), in either spelling; undefined: nothing. */
export const resumeOf = ({
  envelope,
  payload,
  type
}: Extract<ClientMessage, { readonly type: "session.hello" | "session.resume" }>): ResumeRequest | undefined => {
  const nested = type === "session.hello" ? payload.resume : undefined
  const token = nested?.resume_token ?? payload.resume_token
  if (token === undefined) return undefined
  return {
    session_id: nested?.session_id ?? payload.session_id ?? envelope.session_id,
    resume_token: token,
    last_event_seq: nested === undefined ? payload.last_event_seq : nested.last_event_seq
  }
}

const isId = (u: unknown): u is string => typeof u === "string" && u.length > 0 && u.length <= 256

/** The session that a first frame names, also where its payload is refused; undefined where it names none. */
export const namedSession = ({ payload, session_id }: Envelope.RawEnvelope): string | undefined => {
  const resume = payload.resume as { readonly session_id?: unknown } | null | undefined
  return [resume?.session_id, payload.session_id, session_id].find(isId)
}

/** Types of first frames of the protocol's drafts before 1.0, which opened a session otherwise. */
const oldTypes: ReadonlySet<string> = new Set(["session.open", "session.authenticate"])

/** Why a message cannot be the first of a connection (§6.1). */
export const notAHello = (type: string): InvalidRequest =>
  new InvalidRequest({
    message: oldTypes.has(type)
      ? `type: ${type} is the old dialect, ARCP before 1.0, which this runtime does not speak; it speaks ARCP ${Envelope.version}, whose first message is session.hello`
      : "type: the first message must be session.hello or session.resume"
  })

/** What a request is refused with where its feature was not negotiated. */
export const need = (session: LiveSession, feature: Feature): InvalidRequest | undefined =>
  session.features.has(feature)
    ? undefined
    : new InvalidRequest({ message: `type: the feature ${feature} was not negotiated` })

/** The job that a message names, in its payload or its envelope. */
export const jobIdOf = (
  payload: { readonly job_id?: string | undefined },
  envelope: Envelope.RawEnvelope
): Either.Either<string, InvalidRequest> => {
  const jobId = payload.job_id ?? envelope.job_id
  return jobId === undefined
    ? Either.left(new InvalidRequest({ message: "payload.job_id: is missing" }))
    : Either.right(jobId)
}

/** A request whose reply comes later. It counts against the link's bounds until the reply is posted. */
export interface Asked {
  /** The reply is about to be posted by other means. */
  readonly settled: () => void
  readonly reply: (frame: Frame) => void
  readonly failed: (error: ArcpError) => void
  /** Replies with a failure or a defect of the request. */
  readonly answered: (request: Effect.Effect<void, ArcpError>) => Effect.Effect<void>
}

/** Begins a request whose reply is expected to have so many bytes; `fail` posts its refusal. */
export const asked = (link: Link, type: string, bytes: number, fail: (error: ArcpError) => void): Asked => {
  const settled = link.owe(bytes)
  const failed = (error: ArcpError): void => {
    settled()
    fail(error)
  }
  return {
    settled,
    failed,
    reply: (frame) => {
      settled()
      link.post(frame)
    },
    answered: (request) =>
      request.pipe(
        Effect.catchAll((error) => Effect.sync(() => failed(error))),
        Effect.catchAllDefect((defect) =>
          Effect.zipRight(
            Effect.logError(`a ${type} could not be answered`, defect),
            Effect.sync(() => failed(new InternalError({ message: "the request failed unexpectedly" })))
          )
        )
      )
  }
}
