/**
 * The runtime's `Credentials`: a rotation tells the sessions that own the job (ARCP 1.1 §9.8.2).
 *
 * Responsibility: `Credentials.rotate` over the jobs that run. It is the service of the room below with this one operation completed, made
 * where credentials and jobs are both known, so that neither registers anything with the other.
 *
 * Order: the new value is live, its event is durable, the prior value is revoked. A store that does not take the event holds the revocation
 * up for `notifyTimeout` at most.
 *
 * Race closed: a job that ends meanwhile is told nothing more; its credentials are revoked by its end.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Credentials, type JobCredential } from "../credentials/Credentials.js"
import { Deadlines } from "../kernel/Deadlines.js"
import { EventLog } from "../log/EventLog.js"
import { tellRotated } from "./internal/rotated.js"
import { JobRunner } from "./JobRunner.js"

/** `Credentials` whose rotations are events of the jobs that run, over the ones below. */
export const layer: Layer.Layer<Credentials, never, Credentials | Deadlines | JobRunner | EventLog> = Layer.effect(
  Credentials,
  Effect.gen(function* () {
    const credentials = yield* Credentials
    const deadlines = yield* Deadlines
    const eventLog = yield* EventLog
    const runner = yield* JobRunner

    const announce = (credential: JobCredential): Effect.Effect<void> =>
      Effect.async<void>((resume) => {
        const live = runner.live(credential.jobId)
        if (live === undefined || live.ending) return resume(Effect.void)
        tellRotated(eventLog, deadlines.wall(), live, credential, "a credential has a new value", () =>
          resume(Effect.void)
        )
      })

    return {
      ...credentials,
      rotate: (jobId, credentialId) => credentials.replace(jobId, credentialId, announce)
    }
  })
)
