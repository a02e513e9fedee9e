/** Frames as their senders would send them: samples of the Schemas, with values that mean something where a field's name says what it is. */
import { Features } from "effect-arcp/protocol"
import { clientTypes, type Corpus, eventKinds } from "./corpus.js"
import { put, type Tree } from "./mutate.js"
import type { Random } from "./random.js"

/** What one end of a conversation knows, and may name. */
export interface Known {
  readonly bearer: string
  session: string | undefined
  token: string | undefined
  /** The last event of the session. */
  lastSeq: number
  readonly jobs: Array<string>
  /** Jobs of others. */
  readonly foreign: ReadonlyArray<string>
  readonly artifacts: Array<string>
  cursor: string | undefined
  /** Ids of requests that have been sent. */
  readonly requests: Array<string>
}

/** The agents that the runtimes of the fuzzer host. */
export const agentNames = [
  "echo",
  "talk",
  "chunks",
  "fail",
  "die",
  "spend",
  "delegate",
  "tool",
  "step",
  "typed",
  "pause",
  "keep",
  "handoff"
] as const

export const features: ReadonlyArray<string> = [
  ...Features.coreFeatures,
  "artifacts",
  "x-vendor.effect-arcp.agent_errors"
]

const leases: ReadonlyArray<Tree> = [
  {},
  { "fs.read": ["/data/**"], "cost.budget": ["USD:1.00"] },
  { "cost.budget": ["USD:0.003", "EUR:2"], "agent.delegate": ["*"], "tool.call": ["*"] },
  { "agent.delegate": ["echo", "spend", "delegate"], "tool.call": ["work"], "cost.budget": ["USD:5"] },
  { "net.fetch": ["https://*.example.com/**"], "model.use": ["*"] },
  { "fs.write": ["/a/{b,c}/[d-f]?.txt", "**"], "x-vendor.acme.power": ["on"] }
]

const inHours = (hours: number): string => new Date(Date.now() + hours * 3_600_000).toISOString()

const filter = (random: Random): Tree => ({
  ...(random.chance(0.5) ? { status: random.pick(["running", "success", ["pending", "error"], "cancelled"]) } : {}),
  ...(random.chance(0.5) ? { agent: random.pick(agentNames) } : {}),
  ...(random.chance(0.3) ? { created_after: inHours(-1) } : {})
})

type Meaning = (known: Known, random: Random) => unknown

const resume: Meaning = (known, random) =>
  known.session === undefined || known.token === undefined
    ? undefined
    : {
        ...(random.chance(0.9) ? { session_id: known.session } : {}),
        resume_token: known.token,
        last_event_seq: random.chance(0.7) ? known.lastSeq : random.int(-1, known.lastSeq + 1)
      }

/** What a field of this name should have; undefined: it is left out. */
const meanings: Readonly<Record<string, Meaning>> = {
  job_id: ({ foreign, jobs }, random) =>
    jobs.length > 0 && random.chance(0.8) ? random.pick(jobs) : foreign.length > 0 ? random.pick(foreign) : "job_none",
  agent: (_, random) => (random.chance(0.9) ? random.pick(agentNames) : `${random.pick(agentNames)}@1.0.0`),
  session_id: ({ session }) => session,
  resume_token: ({ token }) => token,
  last_event_seq: ({ lastSeq }) => lastSeq,
  last_processed_seq: ({ lastSeq }, random) => random.int(0, lastSeq),
  from_event_seq: ({ lastSeq }, random) => random.pick([0, random.int(0, lastSeq), "live"]),
  artifact_id: ({ artifacts }, random) =>
    artifacts.length === 0 ? "art_none" : `${random.chance(0.2) ? "arcp://artifact/" : ""}${random.pick(artifacts)}`,
  auth: ({ bearer }) => ({ scheme: "bearer", token: bearer }),
  client: () => ({ name: "fuzz", version: "1" }),
  capabilities: (_, random) => ({
    encodings: ["json"],
    features: random.chance(0.8) ? features : features.filter(() => random.chance(0.6))
  }),
  resume,
  lease_request: (_, random) => random.pick(leases),
  lease_constraints: (_, random) =>
    random.chance(0.5) ? undefined : { expires_at: inHours(random.pick([1, 24, -1])) },
  idempotency_key: (_, random) => (random.chance(0.7) ? undefined : `key-${random.int(1, 6)}`),
  max_runtime_sec: (_, random) => (random.chance(0.7) ? undefined : random.int(1, 3)),
  content_type: (_, random) => random.pick(["text/plain", "application/octet-stream", 'a/b; c="d"']),
  data: (_, random) => random.pick(["", "aGk=", "AAECAwQ=", "aGk", "####"]),
  sha256: () => undefined,
  retain_seconds: (_, random) => (random.chance(0.5) ? undefined : random.int(1, 2)),
  filter: (_, random) => (random.chance(0.5) ? undefined : filter(random)),
  limit: (_, random) => random.pick([1, 2, 5, 100, undefined]),
  cursor: ({ cursor }) => cursor,
  history: (_, random) => random.chance(0.7),
  nonce: (_, random) => `n-${random.int(0, 1_000_000_000)}`
}

/** Gives the fields of a sample, those of this table, what they should have; some keep what the Schema alone made. */
const meant = (payload: Tree, known: Known, random: Random, share: number): void => {
  for (const [field, meaning] of Object.entries(meanings)) {
    // A field that the sample left out may come in.
    const has = Object.hasOwn(payload, field)
    if (!has || !random.chance(share)) continue
    const value = meaning(known, random)
    if (value === undefined) delete payload[field]
    // A message is spoilt in place: nothing of it may be another's.
    else payload[field] = structuredClone(value)
  }
}

/** Inputs by agent: most agents do something with what they are given. */
const inputOf = (random: Random): unknown =>
  random.pick<unknown>([
    undefined,
    { n: random.int(0, 6), text: "hello", kind: random.pick(eventKinds) },
    { n: random.int(0, 40), pause: random.int(0, 5) },
    { agent: random.pick(agentNames), input: { n: 2 }, lease: random.pick(leases) },
    { amount: random.pick(["0.001 USD", "1 EUR", "-1 USD", "x"]), n: 2 },
    ["a", "b", "c\ud83d\ude00"],
    "text"
  ])

/** Fields that messages of a type have beside what their Schema demands, often enough that they do something. */
const usual: Readonly<Record<string, ReadonlyArray<string>>> = {
  "session.hello": ["auth", "client", "capabilities"],
  "session.resume": ["auth", "session_id", "last_event_seq", "capabilities"],
  "job.cancel": ["job_id"],
  "job.subscribe": ["job_id", "history", "from_event_seq"],
  "job.unsubscribe": ["job_id"],
  "job.submit": ["lease_request", "idempotency_key"]
}

let counter = 0

/** Ids as clients make them: short and long ones, ULIDs and UUIDs, and any text. */
const newId = (random: Random): string => {
  const n = (counter = (counter + 1) % 1_000_000_000).toString()
  switch (random.int(0, 9)) {
    case 0:
      return `01JZ${n.padStart(22, "0")}`
    case 1:
      return `0197a5b0-0000-7000-8000-${n.padStart(12, "0")}`
    case 2:
      return `${n}:${"é\u{1F600}".repeat(60)}`.slice(0, 256)
    case 3:
      return `${n}"\\\u0000\u2028`
    default:
      return `m${n}`
  }
}

const priorities = ["low", "normal", "high", "critical"]

/** The envelope of a client's message around a payload. */
const envelope = (type: string, payload: Tree, known: Known, random: Random): Tree => {
  const id = newId(random)
  if (known.requests.length < 64) known.requests.push(id)
  const tree: Tree = { arcp: random.chance(0.95) ? "1.1" : "1", id, type }
  if (known.session !== undefined && random.chance(0.7)) tree["session_id"] = known.session
  if (random.chance(0.2))
    tree["trace_id"] = random.chance(0.7)
      ? "4bf92f3577b34da6a3ce929d0e0e4736"
      : "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
  if (random.chance(0.1)) tree["priority"] = random.pick(priorities)
  if (random.chance(0.1)) tree["extensions"] = { "x-vendor.acme.note": { a: 1 } }
  if (random.chance(0.05)) tree["timestamp"] = "2026-01-01T00:00:00Z"
  tree["payload"] = payload
  return tree
}

const sampleOf = (samples: Corpus["client"], name: string, random: Random): Tree =>
  JSON.parse(random.pick(samples.get(name)!)) as Tree

/** A client's message of a type. */
export const clientFrame = (type: string, corpus: Corpus, known: Known, random: Random): Tree => {
  const payload = sampleOf(corpus.client, type, random)
  for (const field of usual[type] ?? []) if (!Object.hasOwn(payload, field)) payload[field] = null
  meant(payload, known, random, 0.92)
  for (const field of usual[type] ?? []) if (payload[field] === null) delete payload[field]
  if (Object.hasOwn(payload, "agent") && random.chance(0.8)) {
    const input = inputOf(random)
    if (input === undefined) delete payload["input"]
    else payload["input"] = structuredClone(input)
  }
  return envelope(type, payload, known, random)
}

/** A hello, or a resume of what is known, that a runtime should welcome. */
export const goodHello = (known: Known, random: Random, resumes: boolean): Tree => {
  const all = random.chance(0.8)
  const payload: Tree = {
    client: { name: "fuzz", version: "1" },
    auth: { scheme: "bearer", token: known.bearer },
    capabilities: { encodings: ["json"], features: features.filter(() => all || random.chance(0.6)) }
  }
  if (resumes) {
    const at = { session_id: known.session, resume_token: known.token, last_event_seq: known.lastSeq }
    if (random.chance(0.5)) payload["resume"] = at
    else Object.assign(payload, at)
  }
  const tree = envelope(
    resumes && payload["resume"] === undefined ? random.pick(["session.hello", "session.resume"]) : "session.hello",
    payload,
    known,
    random
  )
  if (!resumes) delete tree["session_id"]
  return tree
}

/** Types of messages that no client sends. */
const strange = [
  "session.welcome",
  "job.event",
  "job.result",
  "job.accepted",
  "session.open",
  "job.nothing",
  "__proto__",
  "constructor",
  "x-",
  "x-acme",
  "x-vendor.acme.hello",
  "arcpx.acme.hello.v1",
  "com.acme.hello.v2",
  "session.hello.v1",
  " session.ping",
  "SESSION.PING"
]

/** The type of the next message: each of them, and those that do the most more often. */
export const nextType = (random: Random): string => {
  const roll = random.next()
  if (roll < 0.06) return "job.submit"
  const type = random.pick(clientTypes)
  // A session that is over says no more.
  return (type === "session.close" || type === "session.bye") && random.chance(0.9) ? "session.ping" : type
}

/** Gives a message the type of another one. */
export const retype = (tree: Tree, random: Random, types: ReadonlyArray<string>): void =>
  put(tree, "type", random.chance(0.6) ? random.pick(types) : random.pick(strange))
