/**
 * What clients do while runtimes are killed: a table of acts. A kill strikes at random, and in the middle of each of them. An act that is added
 * here is done, and killed in, by every seed; what must hold of it at the end goes into `crash.ts` or `checks.ts`.
 */
import type { LedgerClient } from "./ledger.js"
import type { Random } from "./runtimes.js"

/** A job that several sessions own, since they submitted it under one key. */
export interface Shared {
  readonly jobId: string
  readonly owners: ReadonlyArray<LedgerClient>
  readonly input: Input
}

interface Input {
  readonly n: number
  readonly pause: number | undefined
}

/** Where acts take place, and what they leave to be checked. */
export interface Stage {
  readonly seed: number
  readonly random: Random
  readonly clients: ReadonlyArray<LedgerClient>
  /** Jobs that end for nothing but a cancel, and who submitted them. */
  readonly sleepers: Array<readonly [LedgerClient, string]>
  /** Jobs that are observed: by whom, and by whom they were submitted. */
  readonly watched: Array<readonly [owner: LedgerClient, observer: LedgerClient, jobId: string]>
  readonly shared: Array<Shared>
  /** How many keys were used, by agent. */
  readonly keys: Record<"keyed" | "shared", number>
  readonly wrong: (what: string) => void
}

/** Something that a client does. */
export interface Act {
  readonly name: string
  /** How often it is done, against the others. */
  readonly weight: number
  readonly run: (stage: Stage, owner: LedgerClient, other: LedgerClient) => Promise<unknown>
}

const agents = ["count", "count", "recount", "steps", "spend", "stream", "parent", "tool"] as const

const jobOf = (random: Random) => {
  const agent = random.pick(agents)
  // Some flood, most take their time, so that a kill finds them at work.
  const flood = random.chance(0.15)
  const n = flood ? random.int(100, 1_500) : random.int(5, 120)
  const budget = agent === "parent" ? "USD:0.5" : "USD:1"
  return {
    agent,
    input: { n: agent === "spend" ? Math.min(n, 900) : n, pause: flood ? undefined : random.int(1, 15) },
    ...(agent === "spend" || agent === "parent"
      ? { lease_request: { "cost.budget": [budget], "agent.delegate": ["count"] } }
      : {}),
    ...(agent === "tool" ? { lease_request: { "tool.call": ["work"] } } : {})
  }
}

const newKey = (stage: Stage, agent: "keyed" | "shared"): string => `${agent}-${stage.seed}-${++stage.keys[agent]}`

const keyedJob = (stage: Stage) => ({
  agent: "keyed",
  input: { n: stage.random.int(5, 100), pause: stage.random.int(1, 10) },
  idempotency_key: newKey(stage, "keyed")
})

/** Cancels one of the jobs that sleep; nobody can know whether a cancel that was not answered came through: it is asked for again. */
const wake = async ({ sleepers }: Stage): Promise<void> => {
  const sleeper = sleepers.pop()
  if (sleeper === undefined) return
  const answer = await sleeper[0].request("job.cancel", { job_id: sleeper[1] })
  if (answer?.type !== "job.cancelled") sleepers.push(sleeper)
}

/** Both submit the same under one key, at once or one after the other: one job, of which both are owners from their request on. */
const share = async (stage: Stage, owner: LedgerClient, other: LedgerClient): Promise<void> => {
  const { random, wrong } = stage
  const input = { n: random.int(20, 120), pause: random.int(2, 12) }
  const submit = { agent: "shared", input, idempotency_key: newKey(stage, "shared") }
  const atOnce = random.chance(0.3)
  const cancels = random.chance(0.25)
  const first = owner.submit(submit)
  if (!atOnce) await first
  const [one, two] = await Promise.all([first, other.submit(submit)])
  if (one === undefined || two === undefined) return
  if (one !== two) return wrong(`one key, two jobs: ${one} and ${two}`)
  stage.shared.push({ jobId: one, owners: [owner, other], input })
  // Every owner may cancel it, so the one that came later may.
  if (!cancels) return
  const answer = await other.request("job.cancel", { job_id: one })
  if (
    answer?.type === "session.error" &&
    answer.payload["code"] !== "INVALID_REQUEST" &&
    answer.payload["retryable"] !== true
  )
    wrong(`an owner may not cancel: ${JSON.stringify(answer.payload)}`)
}

/** Requests are on their way when their session is resumed on another connection. */
const takeOver = async (stage: Stage, owner: LedgerClient): Promise<void> => {
  const { sleepers } = stage
  if (!owner.connected) return
  const submitted = owner.submit(keyedJob(stage))
  const asked = [
    owner.request("session.list_jobs", { limit: 5 }),
    ...sleepers.filter(([client]) => client === owner).map(([, job_id]) => owner.request("job.subscribe", { job_id }))
  ]
  // Once they have been written.
  await new Promise((resolve) => setImmediate(resolve))
  owner.takeOver()
  await Promise.all([submitted, ...asked])
}

/** All acts. */
export const acts: ReadonlyArray<Act> = [
  {
    name: "submit",
    weight: 40,
    run: async (stage, owner, other) => {
      const observed = stage.random.chance(0.4)
      const jobId = await owner.submit(jobOf(stage.random))
      if (jobId !== undefined && observed && (await other.subscribe(jobId))) stage.watched.push([owner, other, jobId])
    }
  },
  { name: "submit under a key", weight: 22, run: (stage, owner) => owner.submit(keyedJob(stage)) },
  {
    name: "submit what sleeps",
    weight: 9,
    run: async ({ sleepers }, owner) => {
      const jobId = await owner.submit({ agent: "sleep", input: { n: 0 } })
      if (jobId !== undefined) sleepers.push([owner, jobId])
    }
  },
  { name: "cancel", weight: 9, run: wake },
  { name: "lose the socket", weight: 9, run: (_, owner) => Promise.resolve(owner.cut()) },
  { name: "another owner", weight: 7, run: share },
  { name: "take over", weight: 4, run: takeOver }
]

const total = acts.reduce((sum, { weight }) => sum + weight, 0)

/** The next act. */
export const nextAct = (random: Random): Act => {
  let left = random.int(1, total)
  return acts.find(({ weight }) => (left -= weight) <= 0)!
}
