/**
 * What another process needs to go on with a client's session (ARCP 1.1 §6.3): the session, its token, and what was processed.
 */
import * as Schema from "effect/Schema"
import { SessionId } from "../protocol/Ids.js"
import { Count, JobFacts } from "./JobFacts.js"

export { JobFacts } from "./JobFacts.js"

/**
 * What identifies a session; enough to go on with it in another process. The token is a secret.
 *
 * @since 0.1.0
 * @category schemas
 */
export const SessionFacts = Schema.Struct({
  sessionId: Schema.String.pipe(Schema.fromBrand(SessionId)),
  /** Changes with every connection: facts from before the last welcome soon count no more. */
  resumeToken: Schema.Redacted(Schema.String),
  /**
   * The highest session number below which every event was processed by each stream that was opened for its job, or is of a job
   * whose handle this program never read. A stream that is pulled has processed what it was handed before; an event that was
   * handed out and not followed by another pull comes again.
   */
  lastEventSeq: Count,
  /** Jobs of this session that the program has read, the latest 1,024. {@link ArcpClientService.attach} goes on from there. */
  jobs: Schema.optionalWith(Schema.Array(JobFacts), { exact: true })
})

/**
 * What identifies a session; enough to go on with it in another process. The token is a secret.
 *
 * @since 0.1.0
 * @category models
 */
export interface SessionFacts extends Schema.Schema.Type<typeof SessionFacts> {}

/**
 * {@link SessionFacts} as JSON text, for storage.
 *
 * @example
 * ```ts
 * import { FileSystem } from "@effect/platform"
 * import { Effect, Schema, Stream } from "effect"
 * import { ArcpClient, SessionFactsJson } from "effect-arcp/client"
 *
 * // Stored at every change, as JSON that holds the token: keep it like a password.
 * const keep = Effect.gen(function* () {
 *   const client = yield* ArcpClient
 *   const fs = yield* FileSystem.FileSystem
 *   yield* client.sessionChanges.pipe(
 *     Stream.mapEffect(Schema.encode(SessionFactsJson)),
 *     Stream.runForEach((text) => fs.writeFileString("session.json", text))
 *   )
 * })
 *
 * // The next process goes on with it.
 * const resumed = Effect.gen(function* () {
 *   const fs = yield* FileSystem.FileSystem
 *   const resume = yield* Schema.decode(SessionFactsJson)(yield* fs.readFileString("session.json"))
 *   return ArcpClient.layer({ resume })
 * })
 * ```
 *
 * @since 0.1.0
 * @category schemas
 */
export const SessionFactsJson = Schema.parseJson(SessionFacts)
