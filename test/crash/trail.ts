/** What an audit trail must be whose runtimes were killed (ARCP 1.1 §14): decided from its file alone. */
import { Either, Schema } from "effect"
import { AuditRecord } from "../../src/runtime/index.js"

/** Where it is: beside the store, on the same disk. */
export const trailOf = (filename: string): string => `${filename}-audit.ndjson`

const decode = Schema.decodeUnknownEither(Schema.parseJson(AuditRecord), { onExcessProperty: "error" })

/** The records of a file, without lines that a death or a full disk has cut; `problems` has those that are something else. */
const recordsOf = (text: string) => {
  const records: Array<AuditRecord> = []
  const problems: Array<string> = []
  for (const line of text.split("\n")) {
    const decoded = decode(line)
    if (Either.isRight(decoded)) {
      records.push(decoded.right)
      continue
    }
    let isJson = true
    try {
      JSON.parse(line)
    } catch {
      isJson = false
    }
    if (isJson || (line !== "" && !line.startsWith("{")))
      problems.push(`the trail has a line that is no record: ${line}`)
  }
  return { records, problems }
}

/** Of one run after the other, each number once, and what is missing is told; no job is admitted twice, and none that nobody knows. */
export const problemsOfTrail = (text: string, isKnown: (jobId: string) => boolean): ReadonlyArray<string> => {
  const { problems, records } = recordsOf(text)
  const runs = new Map<string, number>()
  const admitted = new Set<string>()
  let run = ""
  for (const record of records) {
    const last = runs.get(record.run)
    if (record.run !== run && last !== undefined) problems.push(`the run ${record.run} goes on behind another`)
    run = record.run
    const expected = (last ?? 0) + (record.type === "audit.lost" ? record.count : 1)
    if (record.seq !== expected)
      problems.push(`in the trail ${record.type} of ${run} has the number ${record.seq} instead of ${expected}`)
    runs.set(run, record.seq)
    if (record.type !== "job.admitted" || record.principal !== "alice") continue
    const { job_id = "none" } = record
    if (admitted.has(job_id)) problems.push(`${job_id} is admitted twice in the trail`)
    if (!isKnown(job_id)) problems.push(`${job_id} is in the trail and nowhere else`)
    admitted.add(job_id)
  }
  const begun = records.filter((record) => record.run === run).map(({ type }) => type)
  if (!begun.includes("session.opened") && !begun.includes("session.resumed"))
    problems.push("the last run of the trail has no session")
  if (/secret-of-/.test(text)) problems.push("a token lies in the trail in clear")
  return problems
}
