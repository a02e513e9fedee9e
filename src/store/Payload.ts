/**
 * Payloads of events as bytes, where they are large.
 *
 * Responsibility: what a runtime and the stores of this package pass to each other of the chunks of streamed results (ARCP 1.1 §8.4). The
 * bytes lie outside the engine's heap, are made once, and go from the agent to the store and to the socket without being copied or read
 * as text again.
 *
 * Compatibility: the {@link Store} interface has texts, and every other store or program gets texts. Only this package's stores take
 * bytes: written by {@link CommitNow}, read by what {@link readingBytes} has registered for their `segments` function. A decorator has a
 * function of its own, for which nothing is registered, so it is never bypassed.
 */
import { Buffer } from "node:buffer"
import * as Effect from "effect/Effect"
import type { Batch, Segment, SegmentHead, Store, StoreError } from "./Store.js"
import type * as Context from "effect/Context"

/** A payload: its JSON text, or the bytes of that in UTF-8, which never change. */
export type Payload = string | Uint8Array

/** A segment whose payloads may be bytes. */
export interface LoadedSegment extends SegmentHead {
  readonly payloads: ReadonlyArray<Payload>
}

/** A batch whose payloads may be bytes. */
export interface LoadedBatch extends Omit<Batch, "segments"> {
  readonly segments: ReadonlyArray<LoadedSegment>
}

/** The text of a payload. */
export const payloadText = (payload: Payload): string =>
  typeof payload === "string"
    ? payload
    : Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength).toString("utf8")

/** The segment with texts alone; the same one where it has no other. */
export const textual = (segment: LoadedSegment): Segment =>
  segment.payloads.some((payload) => typeof payload !== "string")
    ? { ...segment, payloads: segment.payloads.map(payloadText) }
    : (segment as Segment)

/** The batch for a store that knows texts alone. */
export const textualBatch = (batch: LoadedBatch): Batch => ({ ...batch, segments: batch.segments.map(textual) })

type ReadSegments = Context.Tag.Service<Store>["segments"]

/** As `segments` of a store, with bytes. */
export type ReadLoaded = (...asked: Parameters<ReadSegments>) => Effect.Effect<ReadonlyArray<LoadedSegment>, StoreError>

const forms = new WeakMap<object, ReadLoaded>()

/** A store's `segments` that can also be had with bytes. */
export const readingBytes = (read: ReadLoaded): ReadSegments => {
  const segments: ReadSegments = (...asked) => Effect.map(read(...asked), (found) => found.map(textual))
  forms.set(segments, read)
  return segments
}

/** A store's `segments`, with bytes where the store has them. The store may be a class's instance. */
export const loadedSegments = (
  store: { readonly segments: ReadSegments },
  ...asked: Parameters<ReadSegments>
): ReturnType<ReadLoaded> => forms.get(store.segments)?.(...asked) ?? store.segments(...asked)
