/** What a job's events must be, by its agent: decided from the frames alone. */
import type { Frame, JobLedger } from "./ledger.js"
import { isTerminal } from "./ledger.js"

const logOf = (frame: Frame): string | undefined =>
  frame.payload["kind"] === "log" ? (frame.payload["body"].message as string) : undefined

/** The attempts of a job: its logs, each without the mark of its attempt. */
const attemptsOf = (
  job: JobLedger
): ReadonlyArray<{ readonly attempt: number; readonly logs: ReadonlyArray<string> }> => {
  const attempts: Array<{ attempt: number; logs: Array<string> }> = []
  for (const frame of job.events) {
    const { body, kind } = frame.payload
    if (kind === "status" && body.phase === "running") {
      attempts.push({ attempt: Number(/attempt (\d+)/.exec(body.message ?? "attempt 1")?.[1] ?? Number.NaN), logs: [] })
    }
    const log = logOf(frame)
    if (log !== undefined) attempts.at(-1)?.logs.push(log)
  }
  return attempts
}

const rerun = new Set(["recount", "keyed", "shared", "steps", "spend", "stream", "parent", "sleep"])

/** What is wrong with what the owner of a job was sent. */
export const problemsOf = (job: JobLedger): ReadonlyArray<string> => {
  const problems: Array<string> = []
  const wrong = (what: string) => problems.push(`${job.jobId} (${job.agent ?? "unknown"}): ${what}`)
  const ends = job.events.filter(isTerminal)
  const texts = new Set(ends.map((frame) => JSON.stringify(frame.payload)))
  if (texts.size !== 1) wrong(`${texts.size} different ends`)
  if (ends.length > 1 + job.repeats) wrong(`${ends.length} ends, though its submit was repeated ${job.repeats} times`)
  const end = ends[0]
  if (end === undefined) return problems
  if (job.events.slice(job.events.indexOf(end)).some((frame) => !isTerminal(frame))) wrong("an event after its end")
  if (job.events[0]?.payload["body"]?.phase !== "running" && end.type === "job.result")
    wrong("does not begin with its start")

  const { agent, input } = job
  const attempts = attemptsOf(job)
  attempts.forEach(({ attempt }, i) => {
    if (attempt !== i + 1) wrong(`attempt ${attempt} is its ${i + 1}. start`)
  })
  if (end.type === "job.error") {
    const { code, details, retryable } = end.payload
    const restarted = code === "INTERNAL_ERROR" && details?.reason === "runtime_restarted" && retryable === true
    if (!(restarted && (agent === undefined || !rerun.has(agent))) && code !== "CANCELLED") {
      wrong(`ended in ${JSON.stringify(end.payload)}`)
    }
  }
  if (agent === undefined || input === undefined) return problems
  const success = end.type === "job.result"
  const { n } = input
  const last = attempts.at(-1)
  if (agent === "count" || agent === "recount" || agent === "keyed" || agent === "shared") {
    for (const { attempt, logs } of attempts) {
      logs.forEach((log, i) => {
        if (log !== `a${attempt} c${i + 1}`) wrong(`log ${i + 1} of attempt ${attempt} is ${log}`)
      })
    }
    if (success && last?.logs.length !== n) wrong(`${last?.logs.length} of ${n} events before its result`)
  }
  if (agent === "steps") {
    const values = new Map<string, string>()
    for (const { attempt, logs } of attempts) {
      logs.forEach((log, i) => {
        const [, name, value] = /^a\d+ (s\d+)=(\d+)$/.exec(log) ?? []
        if (name !== `s${i + 1}` || value === undefined) {
          wrong(`log ${i + 1} of attempt ${attempt} is ${log}`)
          return
        }
        if ((values.get(name) ?? value) !== value) wrong(`step ${name} was ${values.get(name)} and is ${value}`)
        values.set(name, value)
      })
    }
    if (success && JSON.stringify(end.payload["result"]) !== JSON.stringify([...values.values()].map(Number))) {
      wrong(`its result is not that of its steps: ${JSON.stringify(end.payload["result"])}`)
    }
  }
  if (agent === "spend") {
    // In thousandths, exactly.
    let charged = 0
    let gauge: number | undefined
    const left = () => ((1000 - charged) / 1000).toString()
    for (const frame of job.events) {
      const { body, kind } = frame.payload
      if (kind === "metric" && body.name === "cost.work") charged++
      if (kind === "metric" && body.name === "cost.budget.remaining") {
        gauge = body.value as number
        if (String(gauge) !== left()) wrong(`tells ${gauge} left, where ${left()} are`)
      }
      const told = /left=(.+)$/.exec(logOf(frame) ?? "")?.[1]
      if (told !== undefined && told !== left()) wrong(`an attempt begins with ${told}, where ${left()} are left`)
    }
    if (success && end.payload["result"] !== left()) wrong(`ends with ${end.payload["result"]} of ${left()}`)
  }
  if (agent === "stream" && success) {
    const id = end.payload["result_id"] as string
    const chunks = job.events.flatMap(({ payload: { body, kind } }) =>
      kind === "result_chunk" && body.result_id === id ? [body] : []
    )
    chunks.forEach((body, i) => {
      if (body.chunk_seq !== i || body.more !== i < chunks.length - 1) wrong(`chunk ${i} is ${JSON.stringify(body)}`)
    })
    const text = chunks.map((body) => body.data as string).join("")
    if (text !== Array.from({ length: n }, (_, i) => `${i + 1};`).join("")) wrong("its result is not the whole stream")
  }
  if (agent === "parent" && success && end.payload["result"] !== "0.5") {
    wrong(`has ${end.payload["result"]} of 0.5 left, though its children spent nothing`)
  }
  const open = new Set<string>()
  for (const { payload } of job.events) {
    if (payload["kind"] === "tool_call") open.add(payload["body"].call_id as string)
    if (payload["kind"] === "tool_result") open.delete(payload["body"].call_id as string)
  }
  if (open.size > 0) wrong(`leaves ${open.size} tool calls open`)
  return problems
}

/** Payloads up to the end; what follows the first end must be that end again, and is left out. */
const toEnd = (job: JobLedger): ReadonlyArray<string> => {
  const first = job.events.findIndex(isTerminal)
  return (first === -1 ? job.events : job.events.slice(0, first + 1)).map((frame) => JSON.stringify(frame.payload))
}

/** An observer with history sees what the owner sees. */
export const differs = (owner: JobLedger, observer: JobLedger): string | undefined => {
  const [a, b] = [toEnd(owner), toEnd(observer)]
  const at = a.findIndex((line, i) => line !== b[i])
  return at === -1 && a.length === b.length
    ? undefined
    : `${owner.jobId}: the owner saw ${a.length} events, an observer ${b.length}; the first difference is ${at + 1}: ${a[at]} / ${b[at]}`
}

/**
 * What is wrong with what the owners of a job were sent, who became owners one after the other: each has the end of its history, without a gap,
 * and one has all of it.
 */
export const problemsOfOwners = (
  history: JobLedger,
  owners: ReadonlyArray<readonly [name: string, job: JobLedger | undefined]>
): ReadonlyArray<string> => {
  const problems: Array<string> = []
  const all = toEnd(history)
  let whole = 0
  for (const [name, job] of owners) {
    if (job === undefined) {
      problems.push(`${history.jobId}: its owner ${name} was sent nothing of it`)
      continue
    }
    const own = toEnd(job)
    const from = all.length - own.length
    const at = own.findIndex((text, i) => text !== all[from + i])
    if (from < 0 || at !== -1)
      problems.push(
        `${history.jobId}: its owner ${name} has ${own.length} of ${all.length} events, ${own[at]} for ${all[from + at]}`
      )
    if (from === 0) whole++
  }
  if (whole === 0) problems.push(`${history.jobId}: none of its owners has all of its ${all.length} events`)
  return problems
}
