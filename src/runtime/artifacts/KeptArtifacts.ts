/**
 * Artifacts: bytes that agents and clients leave for each other, owned by a principal. Beyond the specification, whose
 * `artifact_ref` events name them (ARCP 1.1 §8.2); the feature `artifacts` is negotiated.
 *
 * Responsibility: who may see what, digests, caps and retention, over an `ArtifactStore`. Without one, nothing is offered
 * and every call is refused. `internal/usage` owns the counts, the only state of this room.
 *
 * Order: an artifact is stored before its reference is returned or announced.
 *
 * Races: the heads of `internal/usage` (caps under puts at once), `internal/keeping` (what is counted is what is there) and
 * `internal/serving` (buffers that change) name what each of them closes.
 *
 * An artifact that is unknown, another principal's or expired is `JOB_NOT_FOUND` in the same words: of the codes of §12 it
 * is the one that means "does not exist or is not visible"; `INVALID_REQUEST` would say that the message is malformed.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import { InvalidRequest } from "../../protocol/Errors.js"
import { Ids } from "../../protocol/Ids.js"
import { ArtifactStore } from "../../store/ArtifactStore.js"
import * as Rows from "../../store/Rows.js"
import { claim, instanceOf } from "../kernel/Claims.js"
import { Deadlines } from "../kernel/Deadlines.js"
import { Limits } from "../kernel/Limits.js"
import { Meter } from "../kernel/Metrics.js"
import { patient } from "../kernel/Patience.js"
import { Artifacts } from "./Artifacts.js"
import type { ArtifactsService } from "./ArtifactsService.js"
import { type Keeper, sweep } from "./internal/keeping.js"
import { fetch, put, release } from "./internal/serving.js"
import { makeUsage, nothing } from "./internal/usage.js"

const noStore = new InvalidRequest({
  message: "artifacts: this runtime keeps none; provide an ArtifactStore to it"
})

const unavailable: ArtifactsService = {
  available: false,
  put: () => noStore,
  fetch: () => noStore,
  release: () => noStore,
  usage: () => nothing
}

const make = (impatient: typeof ArtifactStore.Service) =>
  Effect.gen(function* () {
    const limits = yield* Limits
    const meter = yield* Meter
    const keeper: Keeper = {
      store: Rows.decodedArtifacts(patient(impatient, limits, meter, ["totals"])),
      usage: makeUsage(limits, meter),
      deadlines: yield* Deadlines,
      ids: yield* Ids,
      limits,
      meter
    }
    for (const { principalId, ...stored } of yield* Effect.orDie(keeper.store.totals)) {
      keeper.usage.add(principalId, stored)
    }
    yield* sweep(keeper).pipe(
      Effect.catchAllCause((cause) => Effect.logWarning("the sweep of expired artifacts failed", cause)),
      Effect.schedule(Schedule.spaced(limits.sweepEvery)),
      Effect.forkScoped
    )
    const service: ArtifactsService = {
      available: true,
      put: (principalId, request) => put(keeper, principalId, request),
      fetch: (principalId, artifactId) => fetch(keeper, principalId, artifactId),
      release: (principalId, artifactId) => release(keeper, principalId, artifactId),
      usage: keeper.usage.of
    }
    return service
  })

/** The artifacts of one runtime, over the `ArtifactStore` that is there. Dies at its start when that cannot be read. */
export const layer: Layer.Layer<Artifacts, never, Deadlines | Ids> = Layer.scoped(
  Artifacts,
  Effect.flatMap(
    Effect.serviceOption(ArtifactStore),
    Option.match({
      onNone: () => Effect.succeed(unavailable),
      onSome: (store) => Effect.zipRight(claim("store", instanceOf(store)), make(store))
    })
  )
)
