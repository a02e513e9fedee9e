/**
 * How much room artifacts take, for each principal, for anonymous ones together and for all, and the caps on it.
 *
 * Responsibility: the only owner of these counts. They hold what is stored and what is being written.
 *
 * Race closed: asking for room and taking it are one synchronous step, so that puts at once cannot pass a cap together.
 */
import { isAnonymous } from "../../../protocol/AnonymousIds.js"
import { InternalError } from "../../../protocol/Errors.js"
import { anonymousShare } from "../../kernel/AnonymousShare.js"
import type { LimitsShape } from "../../kernel/Limits.js"
import type { MeterShape } from "../../kernel/Metrics.js"
import type { ArtifactUsage } from "../ArtifactsService.js"

export interface Usage {
  /** Takes room for one artifact of a principal; returns the refusal where a cap would be passed. */
  readonly reserve: (principalId: string, bytes: number) => InternalError | undefined
  /** Counts artifacts that are stored already, whatever the caps are now. */
  readonly add: (principalId: string, stored: ArtifactUsage) => void
  /** Gives the room of one artifact back. */
  readonly free: (principalId: string, bytes: number) => void
  /** What a principal has, or without one what all have. */
  readonly of: (principalId?: string) => ArtifactUsage
}

export const nothing: ArtifactUsage = { count: 0, bytes: 0 }

const sum = (a: ArtifactUsage, b: ArtifactUsage): ArtifactUsage => ({
  count: a.count + b.count,
  bytes: a.bytes + b.bytes
})

const refuse = (message: string, reason: string) => new InternalError({ message, details: { reason } })

export const makeUsage = (limits: LimitsShape, { reached, reaching }: MeterShape): Usage => {
  const used = new Map<string, ArtifactUsage>()
  let all = nothing
  let guests = nothing
  const guestRoom: ArtifactUsage = {
    count: anonymousShare(limits, limits.artifacts),
    bytes: anonymousShare(limits, limits.artifactBytesTotal)
  }

  const add = (principalId: string, change: ArtifactUsage): void => {
    all = sum(all, change)
    if (isAnonymous(principalId)) guests = sum(guests, change)
    const next = sum(used.get(principalId) ?? nothing, change)
    if (next.count === 0) used.delete(principalId)
    else used.set(principalId, next)
  }

  /** Which cap an artifact would pass. */
  const overCap = (principalId: string, bytes: number): InternalError | undefined => {
    const own = used.get(principalId) ?? nothing
    if (own.count >= limits.artifactsPerPrincipal) {
      reached("artifactsPerPrincipal")
      return refuse(
        `you have ${limits.artifactsPerPrincipal} artifacts already; release some, or wait until some expire`,
        "artifact_count"
      )
    }
    if (own.bytes + bytes > limits.artifactBytesPerPrincipal) {
      reached("artifactBytesPerPrincipal")
      return refuse(
        `your artifacts may have ${limits.artifactBytesPerPrincipal} bytes together; release some, or wait until some expire`,
        "artifact_bytes"
      )
    }
    if (all.count >= limits.artifacts || all.bytes + bytes > limits.artifactBytesTotal) {
      return reaching(
        all.count >= limits.artifacts ? "artifacts" : "artifactBytesTotal",
        refuse("the runtime has no room for more artifacts; try again later", "artifacts_full")
      )
    }
    return isAnonymous(principalId) && (guests.count >= guestRoom.count || guests.bytes + bytes > guestRoom.bytes)
      ? reaching(
          "anonymousShare",
          refuse(
            "artifacts of anonymous clients have all the room that they may have; try again later",
            "artifacts_full"
          )
        )
      : undefined
  }

  return {
    reserve: (principalId, bytes) => {
      const refusal = overCap(principalId, bytes)
      if (refusal === undefined) add(principalId, { count: 1, bytes })
      return refusal
    },
    add,
    free: (principalId, bytes) => add(principalId, { count: -1, bytes: -bytes }),
    of: (principalId) => (principalId === undefined ? all : (used.get(principalId) ?? nothing))
  }
}
