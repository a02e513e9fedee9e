/**
 * The rooms in which the HTTP responses of jobs are counted while they are read (ARCP 1.1 §14): one for each job that reads any, within that
 * of the runtime. Those of jobs of anonymous principals are within a part of it.
 *
 * Order: a room is made when its job's client is, and closed when the job finishes: a fiber that the handler left behind reads nothing any
 * more, and holds up no other job.
 */
import { Room, TotalRoom } from "../../../agent/ResponseRooms.js"
import { isAnonymous } from "../../../protocol/AnonymousIds.js"
import type { ResponseRoom } from "../../../agent/ResponseRoom.js"
import type { PermissionDenied } from "../../../protocol/Errors.js"
import { anonymousShare } from "../../kernel/AnonymousShare.js"
import type { LimitsShape } from "../../kernel/Limits.js"
import type { MeterShape } from "../../kernel/Metrics.js"
import type { Running } from "../Running.js"

/** The rooms of a runtime. */
export class JobResponses {
  private readonly perJob: number
  private readonly total: TotalRoom
  /** What anonymous principals have of it. */
  private readonly guests: TotalRoom
  private readonly meter: MeterShape
  private readonly ended: PermissionDenied
  private readonly rooms = new WeakMap<Running, Room>()

  /** `ended` is what readers of a job that has ended fail with. */
  constructor(limits: LimitsShape, meter: MeterShape, ended: PermissionDenied) {
    this.perJob = limits.responseBytesPerJob
    this.total = new TotalRoom(limits.responseBytes)
    this.guests = new TotalRoom(anonymousShare(limits, limits.responseBytes), this.total)
    this.meter = meter
    this.ended = ended
  }

  /** The room of a job, the same for all its handlers. */
  of(running: Running): ResponseRoom {
    const found = this.rooms.get(running)
    if (found !== undefined) return found
    const total = isAnonymous(running.live.record.principalId) ? this.guests : this.total
    const room = new Room("job", this.perJob, total, (scope) =>
      this.meter.reached(scope === "runtime" ? "responseBytes" : "responseBytesPerJob")
    )
    this.rooms.set(running, room)
    if (running.finished) room.close(this.ended)
    else running.watch({ cancel: () => room.close(this.ended) })
    return room
  }
}
