/**
 * Artifacts in their store: what goes in and what goes again, with the room that it takes.
 *
 * Order: room is reserved, then the bytes are written; what could not be written gives its room back.
 *
 * Races closed: what goes (released or expired) is counted once, since a store tells one release only that it was the one. A put that
 * has begun to write cannot be interrupted, nor can a removal, so that the count always is what is there.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { InternalError } from "../../../protocol/Errors.js"
import type { IdsService } from "../../../protocol/Ids.js"
import type { ArtifactRecord, ArtifactStore } from "../../../store/ArtifactStore.js"
import type { StoreError } from "../../../store/Store.js"
import type { Deadlines } from "../../kernel/Deadlines.js"
import type { LimitsShape } from "../../kernel/Limits.js"
import type { MeterShape } from "../../kernel/Metrics.js"
import { storeFailure } from "../../kernel/Refusals.js"
import type { Usage } from "./usage.js"

/** What the functions of this room share; made once for each runtime. `usage` is all the state that there is. */
export interface Keeper {
  readonly store: Context.Tag.Service<ArtifactStore>
  readonly usage: Usage
  readonly deadlines: Context.Tag.Service<Deadlines>
  readonly ids: IdsService
  readonly limits: LimitsShape
  readonly meter: MeterShape
}

/** Artifacts swept in one step; a sweep goes on until none is left. */
const stepSize = 100

/** Removes an artifact; whether it was there. */
export const remove = (
  { store, usage }: Keeper,
  { artifactId, byteSize, principalId }: Pick<ArtifactRecord, "artifactId" | "principalId" | "byteSize">
): Effect.Effect<boolean, StoreError> =>
  Effect.uninterruptible(
    Effect.tap(store.release(artifactId), (gone) =>
      gone ? Effect.sync(() => usage.free(principalId, byteSize)) : Effect.void
    )
  )

/** Removes what has expired. One that cannot be removed is left for the next time and holds up no other. */
export const sweep = (keeper: Keeper): Effect.Effect<void, StoreError> =>
  Effect.suspend(() => keeper.store.expired(keeper.deadlines.wall(), stepSize)).pipe(
    Effect.flatMap((expired) =>
      Effect.map(
        Effect.forEach(expired, (entry) =>
          Effect.catchAll(remove(keeper, entry), (error) =>
            Effect.as(Effect.logWarning(`the expired artifact ${entry.artifactId} could not be removed`, error), false)
          )
        ),
        (gone) => expired.length === stepSize && gone.includes(true)
      )
    ),
    Effect.flatMap((more) => (more ? sweep(keeper) : Effect.void))
  )

/** Stores an artifact, where there is room for it. */
export const write = (keeper: Keeper, record: ArtifactRecord, data: Uint8Array): Effect.Effect<void, InternalError> => {
  const { store, usage } = keeper
  const { byteSize, principalId } = record
  const reserved = Effect.suspend(() => usage.reserve(principalId, byteSize) ?? Effect.void)
  // A cap counts what has expired until it is swept: at a cap that is done at once.
  const reserve = Effect.catchAll(reserved, () =>
    Effect.zipRight(Effect.mapError(sweep(keeper), storeFailure), reserved)
  )
  return Effect.uninterruptible(
    Effect.zipRight(
      reserve,
      store.put(record, data).pipe(
        Effect.onExit((exit) =>
          exit._tag === "Success" ? Effect.void : Effect.sync(() => usage.free(principalId, byteSize))
        ),
        Effect.tapError((error) => Effect.logError("an artifact could not be stored", error)),
        Effect.mapError(storeFailure)
      )
    )
  )
}
