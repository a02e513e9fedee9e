/**
 * Jobs that wait for a slot, in the order of submission (ARCP 1.1 §7.3 pending).
 *
 * Jobs of one agent, and of anonymous principals or of others, are a queue: those whose agent or group has no slot free are passed over at
 * once, however many they are. Between the queues the order is that of submission too.
 */
import type { AgentRegistration } from "../../../agent/AgentRegistry.js"
import { isAnonymous } from "../../../protocol/AnonymousIds.js"

/** A job, as far as its place depends on it. */
interface Slotted {
  readonly live: { readonly record: { readonly principalId: string } }
  readonly agent: AgentRegistration
}

/** Who knows whether an agent has a slot free, for an anonymous principal or for another. */
interface Slots {
  readonly hasFor: (agent: AgentRegistration, isGuest: boolean) => boolean
}

const isGuests = ({ live }: Slotted): boolean => isAnonymous(live.record.principalId)

interface Queue<Job> {
  readonly agent: AgentRegistration
  readonly isGuests: boolean
  /** In the order of submission, each with its place among all. */
  readonly jobs: Map<Job, number>
}

/** A queue, and what of it comes next. */
interface Front<Job> {
  readonly queue: Queue<Job>
  readonly rest: Iterator<[Job, number], undefined>
  next: [Job, number] | undefined
}

const frontOf = <Job>(queue: Queue<Job>): Front<Job> => {
  const rest: Iterator<[Job, number], undefined> = queue.jobs.entries()
  return { queue, rest, next: rest.next().value }
}

const keyOf = (job: Slotted): string => `${isGuests(job) ? "?" : "!"}${job.agent.name}@${job.agent.version}`

/** The jobs of one runtime that wait. */
export class Waiting<Job extends Slotted> {
  private readonly queues = new Map<string, Queue<Job>>()
  private all = 0
  private guests = 0
  private lastPlace = 0

  get size(): number {
    return this.all
  }

  /** Those of anonymous principals. */
  get guestCount(): number {
    return this.guests
  }

  add(running: Job): void {
    const key = keyOf(running)
    const found = this.queues.get(key)
    const queue = found ?? { agent: running.agent, isGuests: isGuests(running), jobs: new Map<Job, number>() }
    if (found === undefined) this.queues.set(key, queue)
    queue.jobs.set(running, ++this.lastPlace)
    this.count(queue, 1)
  }

  /** Takes one out; whether it waited. */
  delete(running: Job): boolean {
    const key = keyOf(running)
    const queue = this.queues.get(key)
    if (queue?.jobs.delete(running) !== true) return false
    if (queue.jobs.size === 0) this.queues.delete(key)
    this.count(queue, -1)
    return true
  }

  /**
   * Shows those that may have a slot, in the order of submission, until there is none that may; `take` returns whether one waits no
   * longer, and takes its slot.
   */
  offer(slots: Slots, take: (running: Job) => boolean): void {
    const fronts = Array.from(this.queues.values(), frontOf<Job>)
    for (;;) {
      let first: Front<Job> | undefined
      for (const front of fronts) {
        if (front.next === undefined || !slots.hasFor(front.queue.agent, front.queue.isGuests)) continue
        if (first?.next === undefined || front.next[1] < first.next[1]) first = front
      }
      if (first?.next === undefined) return
      const [running] = first.next
      if (take(running)) this.delete(running)
      first.next = first.rest.next().value
    }
  }

  private count(queue: Queue<Job>, by: 1 | -1): void {
    this.all += by
    if (queue.isGuests) this.guests += by
  }
}
