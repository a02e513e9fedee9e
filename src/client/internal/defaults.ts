/**
 * The options of a client with every default filled in, as its parts are given them.
 *
 * Responsibility: the defaults that `ClientOptions` states, each in one place. The options have been checked before (see
 * `checks.optionsProblem`), so that nothing here fails.
 */
import * as Duration from "effect/Duration"
import { defaultMaxBytes } from "../../protocol/Artifact.js"
import { coreFeatures, extendedFeatures } from "../../protocol/Features.js"
import type { IdsService } from "../../protocol/Ids.js"
import { packageName, packageVersion } from "../../protocol/Package.js"
import type { ClientOptions } from "../ClientOptions.js"
import { defaultBounds } from "./bounds.js"
import type { CoreOptions, SupervisorOptions, Times } from "./options.js"

/** The options of one client, for its parts. */
export interface Settings {
  readonly core: CoreOptions
  readonly supervisor: SupervisorOptions
  /** Bytes of the largest artifact, and of the largest frame, that is sent. */
  readonly maxArtifactBytes: number
  readonly maxFrameBytes: number
}

/** Fills in the default of each option that is left out. `onEnd` is called once, when the client has ended. */
export const settingsOf = (options: ClientOptions, ids: IdsService, times: Times, onEnd: () => void): Settings => {
  const features = options.features ?? [...coreFeatures, ...extendedFeatures]
  const maxArtifactBytes = options.maxArtifactBytes ?? defaultMaxBytes
  const newId = () => ids.unsafeUlid(times.wall())
  return {
    maxArtifactBytes,
    // The largest artifact fits as base64, with the rest of its frame.
    maxFrameBytes: options.maxFrameBytes ?? Math.max(4_194_304, Math.ceil((maxArtifactBytes * 4) / 3) + 65_536),
    core: {
      features,
      bounds: {
        events: options.eventBuffer ?? defaultBounds.events,
        bytes: options.eventBufferBytes ?? defaultBounds.bytes,
        result: options.maxResultBytes ?? defaultBounds.result
      },
      newId,
      newTraceId: ids.unsafeTraceId,
      times
    },
    supervisor: {
      client: options.client ?? { name: packageName, version: packageVersion },
      auth: options.auth,
      features,
      connectTimeout: Duration.toMillis(options.connectTimeout ?? "10 seconds"),
      handshakeTimeout: Duration.toMillis(options.handshakeTimeout ?? "10 seconds"),
      closeTimeout: Duration.toMillis(options.closeTimeout ?? "2 seconds"),
      backoff: Duration.toMillis(options.backoff ?? 100),
      maxBackoff: Duration.toMillis(options.maxBackoff ?? "10 seconds"),
      maxAttempts: options.maxAttempts ?? Number.POSITIVE_INFINITY,
      retry: options.retry,
      requestTimeout: Duration.toMillis(options.requestTimeout ?? "30 seconds"),
      ackEvery: options.ackEvery ?? 256,
      ackBytes: options.ackBytes ?? 1_048_576,
      ackInterval: Duration.toMillis(options.ackInterval ?? 250),
      resume: options.resume,
      newId,
      times,
      onEnd
    }
  }
}
