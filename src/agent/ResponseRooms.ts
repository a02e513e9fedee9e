/**
 * How rooms for responses count (`ResponseRoom`): that of a job, or of a client that has no job, within that of a runtime.
 *
 * Fairness: a job never holds more than is left free for the others. So one job alone may use half of the runtime's room at most, many
 * share it, and one that comes last finds some. A total may have a part for some of the jobs, which they share in the same way.
 */
import type { PermissionDenied } from "../protocol/Errors.js"
import { type ResponseRoom, ResponseRoomFull } from "./ResponseRoom.js"

const full = (scope: ResponseRoomFull["scope"], limit: number): ResponseRoomFull =>
  new ResponseRoomFull({
    scope,
    limit,
    message: `no room for the response: at most ${limit} bytes of responses are read at a time by ${
      scope === "runtime" ? "all jobs of the runtime, and a job gets no more of them than are left" : `this ${scope}`
    }`
  })

/** The bytes of all rooms within it; it may be a part of another one. */
export class TotalRoom {
  readonly limit: number
  private readonly whole: TotalRoom | undefined
  private held = 0

  constructor(limit: number, whole?: TotalRoom) {
    this.limit = limit
    this.whole = whole
  }

  /** What is not held. */
  get free(): number {
    const free = this.limit - this.held
    return this.whole === undefined ? free : Math.min(free, this.whole.free)
  }

  change(bytes: number): void {
    this.held += bytes
    this.whole?.change(bytes)
  }
}

/** One room. */
export class Room implements ResponseRoom {
  private readonly scope: "client" | "job"
  private readonly limit: number
  private readonly total: TotalRoom | undefined
  private readonly reached: (scope: ResponseRoomFull["scope"]) => void
  private held = 0
  private over: PermissionDenied | undefined = undefined

  constructor(
    scope: "client" | "job",
    limit: number,
    total?: TotalRoom,
    reached: (scope: ResponseRoomFull["scope"]) => void = () => undefined
  ) {
    this.scope = scope
    this.limit = limit
    this.total = total
    this.reached = reached
  }

  take(bytes: number): ResponseRoomFull | PermissionDenied | undefined {
    if (this.over !== undefined) return this.over
    const { limit, scope, total } = this
    if (this.held + bytes > limit) return this.refused(scope, limit)
    if (total !== undefined && this.held + bytes > total.free - bytes) return this.refused("runtime", total.limit)
    this.held += bytes
    total?.change(bytes)
    return undefined
  }

  release(bytes: number): void {
    // What a reader of an ended job gives back was given back when the job ended.
    if (this.over !== undefined) return
    this.held -= bytes
    this.total?.change(-bytes)
  }

  /** The job has ended: gives back everything, and takes nothing any more. */
  close(reason: PermissionDenied): void {
    if (this.over !== undefined) return
    this.release(this.held)
    this.over = reason
  }

  private refused(scope: ResponseRoomFull["scope"], limit: number): ResponseRoomFull {
    this.reached(scope)
    return full(scope, limit)
  }
}

/** What one reader has of a room. */
export class Hold {
  private readonly room: ResponseRoom
  private bytes = 0

  constructor(room: ResponseRoom) {
    this.room = room
  }

  take(bytes: number): ResponseRoomFull | PermissionDenied | undefined {
    const refusal = this.room.take(bytes)
    if (refusal === undefined) this.bytes += bytes
    return refusal
  }

  release(): void {
    const { bytes } = this
    this.bytes = 0
    if (bytes > 0) this.room.release(bytes)
  }
}
