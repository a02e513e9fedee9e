/**
 * The values that nothing of a job may show (ARCP 1.1 §14): of its own credentials, and of those of the jobs that delegated it, which it may
 * have been given.
 *
 * Race closed here: a job's credentials are revoked when it ends, and its handler may unwind later with an error that quotes one. What has
 * been looked at once while the job was live is known for as long as anything of it runs.
 */
import { type Hide, withoutQueries } from "../../../agent/HiddenSpan.js"
import type { JobCredential } from "../../credentials/JobCredential.js"
import { type Upstream, upstreamOf } from "../../credentials/UpstreamErrors.js"
import type { Services } from "../internal/engine.js"
import type { Running } from "../Running.js"

type Watched = () => ReadonlyArray<JobCredential>

const known = new WeakMap<Running, Set<Watched>>()

const heldBy = ({ credentials }: Pick<Services, "credentials">, running: Running): ReadonlyArray<JobCredential> => {
  const found = known.get(running)
  const now = credentials.watch(running.live.jobId)
  if (now === undefined) return found === undefined ? [] : [...found].flatMap((watched) => watched())
  const all = found ?? new Set<Watched>()
  all.add(now)
  if (found === undefined) known.set(running, all)
  return [...all].flatMap((watched) => watched())
}

/** A text of a job's failure as operators may read it: without the values of credentials, and without queries of URLs. */
export const shownFor =
  (engine: Pick<Services, "credentials">, running: Running): Hide =>
  (text) =>
    withoutQueries(secretsOf(engine, running)?.hide(text) ?? text)

/** What a job's credentials have to do with its failures; undefined where it has none. */
export const secretsOf = (engine: Pick<Services, "credentials">, running: Running): Upstream | undefined => {
  if (!engine.credentials.available) return undefined
  const others: Array<JobCredential> = []
  for (let above = running.parent; above !== undefined; above = above.parent) others.push(...heldBy(engine, above))
  return upstreamOf(heldBy(engine, running), others)
}
