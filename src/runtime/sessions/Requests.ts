/**
 * The requests of a connection that has a session: one table of what a client may send (ARCP 1.1 §6–§8): what was not
 * negotiated is refused (§6.2), and a close is answered while its jobs go on (§6.7).
 *
 * Responsibility: each row of the table says which feature a message needs, how it runs, how many bytes of reply it owes, and what
 * answers it. `Conversation` is what one connection's answers share: its session, what is in flight, and the lanes of large replies.
 *
 * Order: a message that only touches memory is answered in place, before the next frame is read: in the step in which it is read, but for
 * what a submit has to log or a scheduler of the program's has to wait for. What reads the store or waits for an
 * upstream runs beside the reading, at most `Limits.concurrentRequests` at a time, so that pings are answered however slow the store
 * is; at that bound the reading waits. Whatever is wrong with a message itself is answered in place and owes nothing.
 *
 * Memory: a reply that comes later counts against the link's bounds from the request on, until it is posted. Replies that are large
 * (listings, artifacts) are made one at a time, each when the one before it is being sent; the puts in flight hold their bytes.
 *
 * Races closed here: a request has one answer; what a concern answers after that is ignored.
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import * as Envelope from "../../protocol/Envelope.js"
import { type ArcpError, InternalError, InvalidRequest } from "../../protocol/Errors.js"
import type { Feature } from "../../protocol/Features.js"
import { formatTimestamp } from "../../protocol/Fields.js"
import { Ids, JobId } from "../../protocol/Ids.js"
import * as Message from "../../protocol/Message.js"
import * as Trace from "../../protocol/Trace.js"
import type { Frame } from "../../transport/Connection.js"
import { Artifacts } from "../artifacts/Artifacts.js"
import { Credentials } from "../credentials/Credentials.js"
import { Acceptance, submitNowOf } from "../jobs/Admission.js"
import { type JobAccepted, JobScheduler, type JobSchedulerService } from "../jobs/JobScheduler.js"
import { Auditing } from "../kernel/Auditing.js"
import { Deadlines } from "../kernel/Deadlines.js"
import { SubmitsWait } from "../kernel/Foreign.js"
import { Limits } from "../kernel/Limits.js"
import { Meter } from "../kernel/Metrics.js"
import type { Reply } from "../kernel/Reply.js"
import { BackPressure } from "../log/BackPressure.js"
import { artifactAnswers, type ArtifactMessage } from "./internal/artifactAnswers.js"
import * as JobsPage from "./internal/jobsPage.js"
import { Conversation, type Kit, type Lane, type Runs } from "./Conversation.js"
import type { Attached } from "./Presence.js"
import { Subscriptions } from "./Subscriptions.js"

/** What a reply that only names things may have, in bytes. */
const smallReply = 1_024

/** What a reply that shows a lease may have, in bytes; `Lease.maxLeaseLength` bounds it. */
const leaseReply = 32_768

/** A client's message of one type. */
type Of<T extends Message.ClientMessageType> = Extract<Message.ClientMessage, { readonly type: T }>

/** A row of a message that touches memory alone: it is answered in place and owes nothing. */
interface AtOnce<M> {
  readonly feature?: Feature
  atOnce(conversation: Conversation, message: M): void
}

/** A row of a message that is answered later. `S` is what the message is about, read from it before anything runs. */
interface Later<M, S> {
  readonly feature?: Feature
  /** Reads what the message is about; the error is the answer to it. */
  subject(message: M): Either.Either<S, ArcpError>
  runs(message: M): Runs
  readonly lane?: Lane
  /** How large its reply is expected to be, in bytes; `size`: of the request, in UTF-16 code units. */
  owes(size: number): number
  answer(conversation: Conversation, message: M, asked: Asked, subject: S): Effect.Effect<void, ArcpError>
}

type Row<M> = AtOnce<M> | Later<M, unknown>

const later = <M, S>(row: Later<M, S>): Later<M, S> => row

const beside = (): Runs => "beside"
const put = (): Runs => "put"
const small = (): number => smallReply
/** What a submit's reply shows is what it brought, and little more. */
const asSubmitted = (size: number): number => size + smallReply
const withLease = (): number => leaseReply
const nothing = (): Either.Either<undefined> => Either.right(undefined)

/** The job that a message names, in its payload or its envelope. */
const jobId = ({
  envelope,
  payload
}: {
  readonly envelope: Envelope.RawEnvelope
  readonly payload: { readonly job_id?: string | undefined }
}): Either.Either<JobId, InvalidRequest> => {
  const jobId = payload.job_id ?? envelope.job_id
  return jobId === undefined
    ? Either.left(new InvalidRequest({ message: "payload.job_id: is missing" }))
    : Either.right(JobId(jobId))
}

/** The trace that a submit continues. */
const trace = ({ envelope }: Of<"job.submit">): Either.Either<Trace.TraceContext | undefined, ArcpError> =>
  envelope.trace_id === undefined ? Either.right(undefined) : Trace.parse(envelope.trace_id, envelope.extensions)

const another = (conversation: Conversation, { envelope }: Of<"session.hello" | "session.resume">) =>
  conversation.fail(new InvalidRequest({ message: `type: the connection has a session already` }), envelope)

const pong = (): void => {}

const bye = (conversation: Conversation): void => {
  // Nothing follows it (1.0 §6.4): what waits to be sent is found at a resume.
  conversation.link.abandon()
  conversation.close()
}

const close = (conversation: Conversation, { envelope }: Of<"session.close">): void => {
  conversation.link.post(Message.runtime("session.closed", conversation.head(), { request_id: envelope.id }))
  conversation.close()
}

const unexpected = new InternalError({ message: "the request failed unexpectedly" })

/** A request whose reply comes later. It counts against the link's bounds until the reply is posted. */
class Asked {
  /** The reply is about to be posted by other means. */
  readonly settled: () => void
  private readonly conversation: Conversation
  private readonly envelope: Envelope.RawEnvelope
  private done = false

  constructor(conversation: Conversation, envelope: Envelope.RawEnvelope, bytes: number) {
    this.conversation = conversation
    this.envelope = envelope
    this.settled = conversation.link.owe(bytes)
  }

  /** `behind`: the number of the session's event behind which it is sent; undefined: before all that has not been sent. */
  reply(frame: Frame, behind?: number): void {
    const { link } = this.conversation
    this.settled()
    if (behind === undefined) link.post(frame)
    else link.postAfter(behind, frame)
  }

  failed(error: ArcpError): void {
    if (this.done) return
    this.done = true
    this.settled()
    this.conversation.fail(error, this.envelope)
  }

  /** What a concern answers with: its refusal is posted here, its answer by `accepted`. One answer counts. */
  answering<A>(accepted: (answer: A) => void): Reply<A> {
    return (answer) => {
      if (this.done) return
      if (Either.isLeft(answer)) return this.failed(answer.left)
      try {
        accepted(answer.right)
        this.done = true
      } catch (defect) {
        this.failed(unexpected)
        // edge: an answer of a concern that the program brought may be none; who called this reports it
        throw defect
      }
    }
  }

  /** Begins a request that may be done at once; what is left of it, to be run. */
  begun(begin: () => Effect.Effect<void, ArcpError>): Effect.Effect<void> | undefined {
    let request: Effect.Effect<void, ArcpError>
    try {
      request = begin()
    } catch (defect) {
      request = Effect.die(defect)
    }
    if (!Exit.isExit(request)) return this.answered(request)
    if (Exit.isSuccess(request)) return undefined
    const { cause } = request as Exit.Failure<void, ArcpError>
    if (cause._tag !== "Fail") return this.answered(request)
    this.failed(cause.error)
    return undefined
  }

  /** Replies with a failure or a defect of the request. */
  answered(request: Effect.Effect<void, ArcpError>): Effect.Effect<void> {
    return request.pipe(
      Effect.catchAll((error) => Effect.sync(() => this.failed(error))),
      Effect.catchAllDefect((defect) =>
        Effect.zipRight(
          Effect.logError(`a ${this.envelope.type} could not be answered`, defect),
          Effect.sync(() => this.failed(unexpected))
        )
      )
    )
  }
}

/** The frame of `job.accepted` with a payload that is JSON already: the text of the same frame that is made of objects. */
export const acceptedFrame = (
  { id, sessionId }: { readonly id: string; readonly sessionId: string },
  { jobId, traceId }: Pick<JobAccepted, "jobId" | "traceId">,
  requestId: string,
  payload: string
): string =>
  `{"arcp":"${Envelope.version}","id":${JSON.stringify(id)},"type":"job.accepted","session_id":${JSON.stringify(
    sessionId
  )},"trace_id":${JSON.stringify(traceId)},"job_id":${JSON.stringify(jobId)},"payload":{"request_id":${JSON.stringify(
    requestId
  )},${payload.slice(1)}}`

/** The requests of one runtime's connections. */
export type Requests = Effect.Effect.Success<typeof make>

const makeKit = Effect.gen(function* () {
  const { wall } = yield* Deadlines
  const { concurrentRequests } = yield* Limits
  const kit: Kit = { ids: yield* Ids, wall, meter: yield* Meter, audit: yield* Auditing, concurrentRequests }
  return kit
})

/** Makes the table of one runtime's requests. */
export const make = Effect.gen(function* () {
  const scheduler = yield* JobScheduler
  const ownSubmit = submitNowOf(scheduler.submit)
  const takeSubmit: JobSchedulerService["submit"] = ownSubmit ?? ((request, reply) => scheduler.submit(request, reply))
  const subscriptions = yield* Subscriptions
  const backPressure = yield* BackPressure
  const credentials = yield* Credentials
  const { wall } = yield* Deadlines
  const limits = yield* Limits
  const meter = yield* Meter
  const submitsWait = (yield* SubmitsWait) || credentials.available
  const answerArtifact = artifactAnswers(yield* Artifacts, limits, meter)
  const kit = yield* makeKit
  const pageBytes = limits.maxFrameBytes

  const ping = (conversation: Conversation, { payload }: Of<"session.ping">): void =>
    conversation.link.post(
      Message.runtime("session.pong", conversation.head(), {
        ping_nonce: payload.nonce,
        received_at: formatTimestamp(wall())
      })
    )

  const ack = (conversation: Conversation, { envelope, payload }: Of<"session.ack">): void => {
    const { session } = conversation
    const seq = payload.last_processed_seq
    if (seq > session.seq) {
      const message = `payload.last_processed_seq: the session's last event is ${session.seq}`
      return conversation.fail(new InvalidRequest({ message }), envelope)
    }
    if (seq <= session.ackedSeq) return
    session.acknowledge(seq)
    backPressure.acknowledged(session)
  }

  const listJobs = (conversation: Conversation, { envelope, payload }: Of<"session.list_jobs">, asked: Asked) =>
    Effect.suspend(() => {
      const frame = JobsPage.frame(conversation.head(), envelope.id)
      return Effect.flatMap(
        subscriptions.list({ ...conversation.asking(envelope), payload, bytes: frame.room(pageBytes) }),
        ({ nextCursor, rows }) => {
          asked.settled()
          return conversation.link.postTaken(frame.text(rows, nextCursor))
        }
      )
    })

  const submit = (
    conversation: Conversation,
    { envelope, payload }: Of<"job.submit">,
    asked: Asked,
    trace: Trace.TraceContext | undefined
  ) =>
    takeSubmit(
      // By name: this is on the path of every job.
      {
        sessionId: conversation.session.sessionId,
        principal: conversation.session.principal,
        features: conversation.session.features,
        requestId: envelope.id,
        payload,
        trace,
        priority: Envelope.priorityOf(envelope)
      },
      asked.answering((accepted) => {
        const text = ownSubmit === undefined ? undefined : Acceptance.textOf(accepted)
        if (text !== undefined) {
          const place = { id: kit.ids.unsafeUlid(wall()), sessionId: conversation.session.sessionId }
          return asked.reply(acceptedFrame(place, accepted, envelope.id, text))
        }
        const { jobId, payload, priority, traceId } = accepted
        const head = { ...conversation.head(jobId, traceId), priority: Envelope.priorityOf({ priority }) }
        asked.reply(Message.runtime("job.accepted", head, { request_id: envelope.id, ...payload }))
      })
    )

  // What reads the store, or waits for an upstream, does not hold up the reading.
  const submitRuns = ({ payload }: Of<"job.submit">): Runs =>
    payload.idempotency_key === undefined && !submitsWait ? "inPlace" : "beside"

  const cancel = (conversation: Conversation, { envelope, payload }: Of<"job.cancel">, asked: Asked, jobId: JobId) => {
    const { reason } = payload
    return scheduler.cancel(
      { ...conversation.asking(envelope), jobId, reason },
      asked.answering(() =>
        asked.reply(
          Message.runtime("job.cancelled", conversation.head(jobId), {
            job_id: jobId,
            request_id: envelope.id,
            ...(reason === undefined ? {} : { reason })
          })
        )
      )
    )
  }

  const subscribe = (
    conversation: Conversation,
    { envelope, payload }: Of<"job.subscribe">,
    asked: Asked,
    jobId: JobId
  ) => {
    const { from_event_seq: from } = payload
    const history = payload.history === true && from !== "live"
    return subscriptions.subscribe(
      { ...conversation.asking(envelope), jobId, from: typeof from === "number" ? from : 0, history },
      asked.answering(({ behind, payload }) =>
        asked.reply(
          Message.runtime("job.subscribed", conversation.head(jobId, payload.trace_id), {
            request_id: envelope.id,
            ...payload
          }),
          behind
        )
      )
    )
  }

  const unsubscribe = (conversation: Conversation, { envelope }: Of<"job.unsubscribe">, asked: Asked, jobId: JobId) =>
    subscriptions.unsubscribe(
      { ...conversation.asking(envelope), jobId },
      asked.answering(() =>
        asked.reply(
          Message.runtime("job.unsubscribed", conversation.head(jobId), { job_id: jobId, request_id: envelope.id })
        )
      )
    )

  const artifact = (conversation: Conversation, message: ArtifactMessage, asked: Asked) =>
    Effect.flatMap(answerArtifact(conversation.session.principal.id, message), ([type, payload]) => {
      asked.settled()
      const frame = Message.runtime(type, conversation.head(), { request_id: message.envelope.id, ...payload })
      return conversation.link.postTaken(frame)
    })

  const listing = { subject: nothing, runs: beside, lane: "listings", owes: small } as const
  const artifacts = {
    feature: "artifacts",
    subject: nothing,
    lane: "artifacts",
    owes: small,
    answer: artifact
  } as const

  const table: { readonly [T in Message.ClientMessageType]: Row<Of<T>> } = {
    "session.hello": { atOnce: another },
    "session.resume": { atOnce: another },
    "session.ping": { atOnce: ping },
    "session.pong": { atOnce: pong },
    "session.ack": { feature: "ack", atOnce: ack },
    "session.bye": { atOnce: bye },
    "session.close": { atOnce: close },
    "session.list_jobs": { feature: "list_jobs", ...listing, answer: listJobs },
    "job.submit": later({ subject: trace, runs: submitRuns, owes: asSubmitted, answer: submit }),
    "job.cancel": later({ subject: jobId, runs: beside, owes: small, answer: cancel }),
    "job.subscribe": later({ feature: "subscribe", subject: jobId, runs: beside, owes: withLease, answer: subscribe }),
    "job.unsubscribe": later({ feature: "subscribe", subject: jobId, runs: beside, owes: small, answer: unsubscribe }),
    "artifact.put": { ...artifacts, runs: put },
    "artifact.fetch": { ...artifacts, runs: beside },
    "artifact.release": { ...artifacts, runs: beside }
  }

  /** Handles a message; `size`: of its frame, in UTF-16 code units. Returns what could not be done in this step, to be run. */
  const handle = (
    conversation: Conversation,
    message: Message.ClientMessage,
    size: number
  ): Effect.Effect<void> | undefined => {
    const row: Row<Message.ClientMessage> = table[message.type]
    const { envelope } = message
    const { feature } = row
    if (feature !== undefined && !conversation.session.features.has(feature)) {
      const error = new InvalidRequest({ message: `type: the feature ${feature} was not negotiated` })
      conversation.fail(error, envelope)
      return undefined
    }
    if ("atOnce" in row) {
      row.atOnce(conversation, message)
      return undefined
    }
    const subject = row.subject(message)
    if (Either.isLeft(subject)) {
      conversation.fail(subject.left, envelope)
      return undefined
    }
    const asked = new Asked(conversation, envelope, row.owes(size))
    const answer = (): Effect.Effect<void, ArcpError> => row.answer(conversation, message, asked, subject.right)
    const runs = row.runs(message)
    if (runs === "inPlace") return asked.begun(answer)
    const request = asked.answered(answer())
    return conversation.run(runs, row.lane === undefined ? request : conversation.inLane(row.lane, request))
  }

  /** The answering side of a connection that has been given a session. */
  const begin = (attached: Attached, scope: Scope.Scope): Conversation => new Conversation(attached, scope, kit)

  return { begin, handle }
})
