/** Frames as a runtime would send them, or might: samples of the Schemas, with values that mean something to the client's requests. */
import { type Corpus, eventKinds, runtimeTypes } from "./corpus.js"
import { features } from "./frames.js"
import type { Frame } from "./legal.js"
import type { Tree } from "./mutate.js"
import type { Random } from "./random.js"

/** What a runtime that lies has told its client. */
export interface Told {
  /** How much of what it says is wrong: from 0, nothing but what was not asked for, to 1. */
  readonly malice: number
  readonly session: string
  seq: number
  readonly jobs: Array<string>
  /** Requests of the client that have not been answered. */
  readonly requests: Array<Frame>
  /** Requests that have been, and may be again. */
  readonly answered: Array<Frame>
  /** The next chunk of each job's result. */
  readonly chunks: Map<string, number>
}

/** What answers a message of a client. */
const answerTo: Readonly<Record<string, string>> = {
  "session.hello": "session.welcome",
  "session.resume": "session.welcome",
  "session.ping": "session.pong",
  "session.list_jobs": "session.jobs",
  "session.close": "session.closed",
  "job.submit": "job.accepted",
  "job.cancel": "job.cancelled",
  "job.subscribe": "job.subscribed",
  "job.unsubscribe": "job.unsubscribed",
  "artifact.put": "artifact.ref",
  "artifact.fetch": "artifact.data",
  "artifact.release": "artifact.released"
}

/** Messages of a client that no runtime answers. */
const unanswered = new Set(["session.ack", "session.pong", "session.bye"])

/** Whether a runtime owes something for it. */
export const isRequest = ({ type }: Frame): boolean => !unanswered.has(type)

/** The type of the right answer; of a message that is not known here, any. */
export const rightAnswer = ({ type }: Frame, random: Random): string => answerTo[type] ?? random.pick(runtimeTypes)

interface About {
  readonly told: Told
  readonly request: Frame | undefined
  readonly jobId: string
  readonly random: Random
  readonly type: string
}

const sha256OfHi = "8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4"

type Meaning = (about: About) => unknown

const meanings: Readonly<Record<string, Meaning>> = {
  request_id: ({ request }) => request?.id,
  job_id: ({ jobId }) => jobId,
  session_id: ({ told }) => told.session,
  resume_token: ({ random }) => `rt_${random.int(1, 1_000_000)}`,
  resume_window_sec: ({ random }) => random.pick([1, 600]),
  heartbeat_interval_sec: ({ random }) => random.pick([1, 30]),
  capabilities: ({ random }) => ({
    encodings: ["json"],
    features: features.filter(() => random.chance(0.93)),
    agents: random.chance(0.5) ? ["echo"] : [{ name: "echo", versions: ["1"], default: "1" }]
  }),
  ping_nonce: ({ request }) => request?.payload["nonce"],
  next_cursor: ({ random }) => (random.chance(0.8) ? null : "next"),
  agent: () => "echo@1",
  final_status: ({ random, type }) =>
    type === "job.result" ? "success" : random.pick(["error", "cancelled", "timed_out"]),
  code: ({ random }) =>
    random.pick([
      "INTERNAL_ERROR",
      "INVALID_REQUEST",
      "JOB_NOT_FOUND",
      "PERMISSION_DENIED",
      "CANCELLED",
      "TIMEOUT",
      "UNAUTHENTICATED",
      "DUPLICATE_KEY",
      "RESUME_WINDOW_EXPIRED",
      "NO_LUCK"
    ]),
  current_status: ({ random }) => random.pick(["running", "pending", "success", "error"]),
  subscribed_from: ({ told }) => told.seq,
  replayed: ({ random }) => random.chance(0.5),
  result_id: ({ jobId }) => `r-${jobId}`,
  uri: () => "arcp://artifact/art_1",
  artifact_id: () => "art_1",
  content_type: () => "text/plain",
  byte_size: () => 2,
  sha256: ({ random }) => (random.chance(0.8) ? sha256OfHi : "0".repeat(64)),
  data: () => "aGk=",
  parent_job_id: ({ random }) => (random.chance(0.7) ? null : "job-1"),
  status: ({ random }) => random.pick(["running", "success", "error"])
}

const meant = (payload: Tree, about: About, share: number): void => {
  for (const [field, meaning] of Object.entries(meanings)) {
    if (!Object.hasOwn(payload, field) || !about.random.chance(share)) continue
    const value = meaning(about)
    if (value === undefined) delete payload[field]
    else payload[field] = value
  }
}

/** Fields that an answer has, whether the sample has them or not. */
const usual: Readonly<Record<string, ReadonlyArray<string>>> = {
  "session.welcome": ["capabilities", "session_id"],
  "session.error": ["request_id"],
  "job.accepted": ["request_id"],
  "job.cancelled": ["request_id"],
  "job.subscribed": ["request_id"],
  "job.unsubscribed": ["request_id"],
  "session.jobs": ["request_id"],
  "artifact.ref": ["request_id"],
  "artifact.data": ["request_id"],
  "artifact.released": ["request_id"]
}

/** The body of an event of a kind; of a chunk, the next one of its job's result. */
const bodyOf = (kind: string, corpus: Corpus, { jobId, random, told }: About): unknown => {
  const body = JSON.parse(random.pick(corpus.bodies.get(kind)!)) as Tree
  if (kind !== "result_chunk" || random.chance(0.1 * told.malice)) return body
  const seq = told.chunks.get(jobId) ?? 0
  told.chunks.set(jobId, seq + 1)
  return { result_id: `r-${jobId}`, chunk_seq: seq, data: "aGk=", encoding: "base64", more: random.chance(0.7) }
}

let counter = 0

const numbered = new Set(["job.event", "job.result", "job.error"])

const nextSeq = (told: Told, random: Random): number => {
  const roll = random.next() / told.malice
  if (roll < 0.03) return random.int(0, told.seq + 3)
  if (roll < 0.04) return random.pick([0, 2 ** 31, Number.MAX_SAFE_INTEGER])
  told.seq += roll < 0.06 ? 2 : 1
  return told.seq
}

/** A message of a runtime of a type, as an answer to a request where there is one. */
export const runtimeFrame = (
  type: string,
  corpus: Corpus,
  told: Told,
  request: Frame | undefined,
  random: Random
): Tree => {
  const jobId =
    type === "job.accepted" ? `job-${told.jobs.length + 1}` : told.jobs.length > 0 ? random.pick(told.jobs) : "job-1"
  const about: About = { told, request, jobId, random, type }
  const payload = JSON.parse(random.pick(corpus.runtime.get(type)!)) as Tree
  for (const field of usual[type] ?? []) payload[field] = null
  meant(payload, about, 1 - 0.1 * told.malice)
  if (type === "job.event") {
    const kind = random.chance(0.95) ? random.pick(eventKinds) : "x-vendor.acme.said"
    payload["kind"] = kind
    payload["body"] = eventKinds.includes(kind) ? bodyOf(kind, corpus, about) : { a: 1 }
  }
  if (type === "job.result" && told.chunks.has(jobId) && random.chance(0.7)) {
    delete payload["result"]
    delete payload["output"]
    payload["result_id"] = `r-${jobId}`
    payload["result_size"] = 2 * told.chunks.get(jobId)!
  }
  if (type === "job.accepted" && told.jobs.length < 12) told.jobs.push(jobId)
  const tree: Tree = {
    arcp: "1.1",
    id: `r${(counter = (counter + 1) % 1_000_000_000)}`,
    type,
    session_id: told.session
  }
  if (type.startsWith("job.") && !random.chance(0.05 * told.malice)) tree["job_id"] = jobId
  if (numbered.has(type) && !random.chance(0.02 * told.malice)) tree["event_seq"] = nextSeq(told, random)
  tree["payload"] = payload
  return tree
}

/** The type of a message that nothing asked for: mostly what jobs have to say. */
export const unaskedType = ({ malice }: Told, random: Random): string => {
  const roll = random.next()
  if (roll < 0.55) return "job.event"
  if (roll < 0.68) return "job.result"
  if (roll < 0.71) return "job.error"
  if (roll < 0.75) return "session.ping"
  const type = random.pick(runtimeTypes)
  // A session that is over says no more.
  return (type === "session.bye" || type === "session.error" || type === "session.closed") &&
    !random.chance(0.2 * malice)
    ? "job.event"
    : type
}
