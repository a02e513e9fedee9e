/**
 * Room for the bytes of HTTP responses that are being read (ARCP 1.1 §14): of all requests of a job, and of all jobs of a runtime.
 *
 * A body counts with its decoded bytes from the moment in which they are read. What is read as a whole (`text`, `json`, `arrayBuffer`
 * and the like) counts until its end; of a `stream` the piece that its consumer has counts, until it asks for the next one. Whatever ends the
 * reading gives the room back: the end, a failure, an interruption, a consumer that stops early, and the end of the job.
 *
 * A body that finds no room fails at once, and its connection is dropped: bodies that waited for each other, each with a part of
 * the room, would wait for ever.
 */
import * as Schema from "effect/Schema"
import type { PermissionDenied } from "../protocol/Errors.js"

/**
 * A response that finds no room: so many bytes of others are being read. It is the `cause` of the `ResponseError` with which the reading fails.
 * Read bodies as streams, or fewer at a time; a repeat may succeed (ARCP 1.1 §14).
 *
 * @since 0.2.0
 * @category errors
 */
export class ResponseRoomFull extends Schema.TaggedError<ResponseRoomFull>()("ResponseRoomFull", {
  /** Whose room it is: of the job, of all jobs of the runtime, or of a client that has a room of its own. */
  scope: Schema.Literal("client", "job", "runtime"),
  /** The bytes that may be in flight there. */
  limit: Schema.Number,
  message: Schema.String
}) {}

/**
 * Counts the bytes of responses that are being read.
 *
 * @since 0.2.0
 * @category services
 */
export interface ResponseRoom {
  /** Takes so many bytes, synchronously. Returns why not, and then has taken none: there is no room, or the job has ended. */
  readonly take: (bytes: number) => ResponseRoomFull | PermissionDenied | undefined
  /** Gives back what was taken. */
  readonly release: (bytes: number) => void
}

/** @internal The bytes that may be in flight in a room of a client's own: two bodies of the greatest size. */
export const defaultBytes = 134_217_728
