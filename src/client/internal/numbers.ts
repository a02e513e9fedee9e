/**
 * The numbers of a session's frames, as a client reads them (ARCP 1.1 §8.3), and the copies that some runtimes send.
 *
 * Order: a frame whose number is the next one is the rule and costs a comparison. A frame ahead of its number uses it up too:
 * the number is remembered, and the frame waits for those before it. Acknowledged and resumed from is the number below which
 * nothing is missing. What is missing for too long, or directly after a resume, is a gap.
 */

/** Numbers that are remembered ahead of a missing one; with more of them it is a gap. */
export const maxAhead = 4_096

/** Where a number stands. */
export type Place = "next" | "ahead" | "seen" | "gap"

/** The numbers that have come in one session. */
export class Numbers {
  /** The highest number below which nothing is missing, itself included. */
  last = 0
  /** Whether numbers after a missing one have come. */
  open = false
  /** `last` at the resume: while it is the same, nothing new has come since. */
  private resumedAt: number | undefined = undefined
  private readonly ahead = new Set<number>()

  /** Uses a number up, where it is the next one and none is missing: the usual case, and the hot path. */
  takeNext(seq: number): boolean {
    if (seq !== this.last + 1 || this.open) return false
    this.last = seq
    return true
  }

  /** Uses a number up. One that is a gap is not used up. */
  take(seq: number): Place {
    if (seq === this.last + 1) {
      this.last = seq
      if (this.open) {
        while (this.ahead.delete(this.last + 1)) this.last++
        this.open = this.ahead.size > 0
      }
      return "next"
    }
    if (seq <= this.last) return "seen"
    // After a resume everything that is missing is sent again, in order.
    if (this.resumedAt === this.last) return "gap"
    if (this.ahead.has(seq)) return "seen"
    if (this.ahead.size >= maxAhead) return "gap"
    this.ahead.add(seq)
    this.open = true
    return "ahead"
  }

  /** The session goes on over another connection. */
  resumed(): void {
    this.resumedAt = this.last
  }

  /** Begins at a number: 0 in a new session. */
  reset(last: number): void {
    this.last = last
    this.open = false
    this.resumedAt = undefined
    this.ahead.clear()
  }
}

/** Envelope ids that are remembered of one job. */
const maxIds = 4_096

/**
 * The envelope ids of one job's events: an event may come again under another number, with the same id.
 *
 * Ids that only grow, such as the ULIDs of one runtime, need no look-up: each is new because it is the greatest. The first
 * one that is not makes the ids that are remembered a set.
 */
export class Copies {
  private greatest = ""
  private at = 0
  private ids: Array<string> = []
  private set: Set<string> | undefined = undefined

  /** Whether an event of this id has come before. It has, from now on. */
  isCopy(id: string): boolean {
    if (this.set === undefined) {
      if (id > this.greatest) {
        this.greatest = id
        this.remember(id)
        return false
      }
      this.set = new Set(this.ids)
    }
    if (this.set.has(id)) return true
    const oldest = this.remember(id)
    if (oldest !== undefined) this.set.delete(oldest)
    this.set.add(id)
    return false
  }

  private remember(id: string): string | undefined {
    if (this.ids.length < maxIds) {
      this.ids.push(id)
      return undefined
    }
    const oldest = this.ids[this.at]
    this.ids[this.at] = id
    this.at = (this.at + 1) % maxIds
    return oldest
  }

  /** In another session the events are asked for again, and are counted instead. */
  clear(): void {
    this.greatest = ""
    this.at = 0
    this.ids = []
    this.set = undefined
  }
}
