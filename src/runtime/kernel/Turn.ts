/**
 * Turns of the event loop, which all jobs and connections of the process share: sockets are read and timers fire only
 * between two of them.
 *
 * Responsibility: one clock that knows how long the present turn has lasted, a scheduler for fibers that ends a turn after
 * {@link turnMillis}, and effects that wait for a later turn. Effect's own scheduler drains in microtasks, which keep the
 * loop from turning for as long as there are any.
 *
 * Order: there are two lanes, each first in, first out (fibers of a lower scheduling priority before others, as Effect
 * orders them). `prompt` runs the runtime's own fibers: reading, answering, sending, writing. `working` runs agents'
 * handlers and whatever of the runtime takes long: frames of megabytes, retention, recovery. A turn begins with what is
 * prompt, then comes what is to be written, then what is to be sent, each of all connections together; a part of each turn belongs to what works, and at least one task of it runs in each. So a ping waits for one item of
 * one agent, however many agents are busy, and no flood of requests stops the agents.
 *
 * Clients of the platform's `HttpClient` open a socket first, and fork the fibers that listen to it a little later. An event in between
 * would be lost and the request would never finish, so no turn ends between the two ({@link hold}).
 *
 * A fiber that is not on these schedulers (a program may bring its own) still waits for real turns in {@link pause}. Under a test's clock
 * nothing is cut by time.
 */
import * as HttpClient from "@effect/platform/HttpClient"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DefaultServices from "effect/DefaultServices"
import * as Effect from "effect/Effect"
import * as FiberRef from "effect/FiberRef"
import * as FiberRefs from "effect/FiberRefs"
import * as Layer from "effect/Layer"
import type * as Runtime from "effect/Runtime"
import * as Scheduler from "effect/Scheduler"
import * as Text from "../../protocol/Text.js"

/** How long a turn may last before a fiber that asks has to wait for the next, in milliseconds. */
export const turnMillis = 5

/** The part of a turn that prompt tasks may take while others wait. */
const promptMillis = 3

/** Operations of a fiber between two looks at the clock; fewer while they take long. */
const mostOps = 32

/**
 * Operations that a fiber has in any case each time that it runs. To give way takes some of its own, and a fiber that is asked again
 * before they are done would give way without end.
 */
export const fewestOps = 12

/** Operations, and milliseconds, for which a task keeps the turn to begin a request. */
const heldOps = 256
const heldMillis = 1_000

/** What is to be done in a turn. */
export interface Due {
  readonly run: () => void
  /** Whether it may wait for the next turn where this one is over: not under a clock that a test moves. */
  readonly timed: boolean
}

interface Deferred {
  readonly run: () => void
  readonly priority: number
}

/** Tasks in their order. */
class Lane {
  private tasks: Array<Deferred> = []
  private head = 0

  get size(): number {
    return this.tasks.length - this.head
  }

  push(run: () => void, priority: number): void {
    const { tasks } = this
    const last = tasks[tasks.length - 1]
    if (last === undefined || this.head === tasks.length || last.priority <= priority) {
      tasks.push({ run, priority })
      return
    }
    let at = tasks.length
    while (at > this.head && tasks[at - 1]!.priority > priority) at--
    tasks.splice(at, 0, { run, priority })
  }

  take(): () => void {
    const { run } = this.tasks[this.head]!
    this.head++
    if (this.head === this.tasks.length) {
      this.tasks = []
      this.head = 0
    } else if (this.head >= 1_024) {
      this.tasks = this.tasks.slice(this.head)
      this.head = 0
    }
    return run
  }
}

const prompt = new Lane()
const working = new Lane()
/** What waits for the next turn, to run as prompt. */
let next: Array<() => void> = []
/** What writes once what is prompt has run. */
let writes: Array<Due> = []
/** What sends once that has been written, before what works. */
let sends: Array<Due> = []
/** Whether an immediate will notice that the loop has turned. */
let armed = false
/** How many turns there have been. */
let turns = 0
/** When the present turn has taken its time. */
let endsAt = 0
/** Whether a microtask will run what waits. */
let soon = false
/** Whether a task of a lane is running, the operations for which it keeps the turn, and until when at most. */
let running = false
let held = 0
let heldUntil = 0
/** The fibers that it forks while it keeps the turn. */
const born: Array<() => void> = []

/** Operations until the clock is looked at, how many there were between the last two looks, and when the last was. */
let opsLeft = mostOps
let opsStep = mostOps
let lookedAt = 0

// edge: the one clock of the event loop: real time, whatever Clock a test has put in place
const now = (): number => performance.now()

const arm = (): void => {
  armed = true
  endsAt = now() + turnMillis
  // edge: the event loop itself; immediates run after sockets have been read and timers have fired
  setImmediate(turned)
}

/** The number of the present turn: what is due since an earlier one had no time in that. */
export const thisTurn = (): number => turns

/** Whether the present turn of the event loop has lasted as long as it may. */
export const isOver = (): boolean => {
  if (armed) return now() >= endsAt
  arm()
  return false
}

/** Runs what was there when it began, until the turn is over; at least the first where `atLeastOne`. */
const drain = (lane: Lane, atLeastOne: boolean): void => {
  let left = lane.size
  let must = atLeastOne
  while (left-- > 0 && (must || now() < endsAt)) {
    must = false
    // A fiber that gives way by time does so within a few operations of its own, which it must get behind it each time.
    if (opsLeft < fewestOps) opsLeft = fewestOps
    begin(lane.take())
  }
}

/** Runs a task, and behind it what it has forked while it kept the turn. */
const begin = (run: () => void): void => {
  running = true
  held = 0
  guarded(run)
  for (let at = 0; at < born.length; at++) guarded(born[at]!)
  born.length = 0
  running = false
}

/** Keeps the turn for the running task: a few operations later it, or a fiber that it forks, listens to a socket that it opens now. */
const hold = (): void => {
  if (!running) return
  held = heldOps
  heldUntil = now() + heldMillis
}

const isHeld = (): boolean => held > 0 && now() < heldUntil

/** Puts a fiber's task in its lane, or behind the running task where this forks the fiber and keeps the turn. */
const enqueue =
  (lane: Lane): Scheduler.Scheduler["scheduleTask"] =>
  (task, priority, fiber) => {
    // A fiber that has done nothing yet.
    if (held > 0 && running && fiber?.currentOpCount === 0 && isHeld()) {
      born.push(task)
      return
    }
    lane.push(task, priority)
    again()
  }

/** What one task throws is its own: the others are run, and the loop goes on. */
const guarded = (run: () => void): void => {
  try {
    run()
  } catch (cause) {
    try {
      Effect.runFork(Effect.logError(`a task of the event loop failed: ${Text.ofUnknown(cause)}`))
    } catch {
      // A logger that throws at once must not do what the task may not.
    }
  }
}

/** Whether something can begin in this turn. */
const hasTime = (due: Due | undefined): boolean => due !== undefined && (!due.timed || now() < endsAt)

/** Runs what is there until the turn is over, at least the first; answers what is left. */
const runSome = (due: Array<Due>): Array<Due> => {
  let at = 0
  while (at < due.length && (at === 0 || hasTime(due[at]))) begin(due[at++]!.run)
  return at === due.length ? [] : due.slice(at)
}

/** How often a turn writes: what ends at once is answered in the turn that asked for it. */
const rounds = 8

const write = (): void => {
  const due = writes
  writes = []
  writes = runSome(due).concat(writes)
}

const send = (): void => {
  const due = sends
  sends = []
  sends = runSome(due).concat(sends)
}

/** What is prompt; then what it has to write, of all connections together, and what that leads to; then what there is to send. */
const promptly = (): void => {
  drain(prompt, true)
  for (let round = 0; writes.length > 0 && round < rounds && (round === 0 || hasTime(writes[0])); round++) {
    write()
    drain(prompt, false)
  }
  send()
}

const nothing = (): boolean => prompt.size === 0 && working.size === 0 && writes.length === 0 && sends.length === 0

/** The loop has turned. */
const turned = (): void => {
  armed = false
  turns++
  const begun = next
  next = []
  for (const run of begun) prompt.push(run, 0)
  if (nothing()) return
  arm()
  if (working.size === 0) promptly()
  else {
    const began = endsAt - turnMillis
    endsAt = began + promptMillis
    promptly()
    endsAt = Math.max(began + turnMillis, now() + 1)
    drain(working, true)
  }
  again()
}

const inMicrotask = (): void => {
  soon = false
  if (isOver()) return
  drain(prompt, false)
  drain(working, false)
  again()
}

/** What is left is run in another microtask, or in the next turn where this one is over. */
const again = (): void => {
  if (soon || (prompt.size === 0 && working.size === 0) || isOver()) return
  soon = true
  // edge: what Effect's own scheduler does; without the limit of time it would starve the loop
  queueMicrotask(inMicrotask)
}

/** Writes once in this turn or the next, behind what is prompt in it: for all connections that have been read in it together. */
export const writeSoon = (due: Due): void => {
  writes.push(due)
  if (!armed) arm()
}

/** As {@link writeSoon}, and not in the present turn: what holds the store up may need the loop to turn. */
export const writeInNext = (due: Due): void => {
  next.push(() => writeSoon(due))
  if (!armed) arm()
}

/** Sends in this turn or the next, behind what is prompt in it and what is written in it, and before the agents have theirs. */
export const sendSoon = (due: Due): void => {
  sends.push(due)
  if (!armed) arm()
}

/** Looks at the clock after some operations: after every one where they have taken a millisecond, else after up to 32. */
const looked = (): boolean => {
  if (!armed) arm()
  const at = now()
  const perOp = Math.max(0, at - lookedAt) / opsStep
  lookedAt = at
  opsStep = perOp >= 0.1 ? 1 : Math.min(mostOps, opsStep * 2)
  opsLeft = opsStep
  if (held > 0) {
    held -= opsStep
    if (at < heldUntil) return false
  }
  return at >= endsAt
}

/** For the runtime's own fibers. They give way to others where they say so ({@link pause}), and wait in their lane. */
export const promptScheduler: Scheduler.Scheduler = Scheduler.make(enqueue(prompt))

/** For agents' handlers, which do not know of turns, and for what of the runtime takes long: they give way by time. */
export const workingScheduler: Scheduler.Scheduler = Scheduler.make(enqueue(working), (fiber) =>
  --opsLeft > 0 || !looked()
    ? Scheduler.defaultShouldYield(fiber)
    : fiber.getFiberRef(FiberRef.currentSchedulingPriority)
)

/** Continues in a later turn of the event loop, after waiting I/O has been seen to. */
export const nextTurn: Effect.Effect<void> = Effect.async<void>((resume) => {
  next.push(() => resume(Effect.void))
  if (!armed) arm()
})

const isOurs = (scheduler: Scheduler.Scheduler): boolean =>
  scheduler === promptScheduler || scheduler === workingScheduler

const realClock = Context.get(DefaultServices.liveServices, Clock.Clock)

/** Under a clock that a test moves, nothing may depend on how long it really takes. */
const isReal = (clock: Clock.Clock): boolean => clock === realClock

/** Whether what a runtime does may be cut by time, as it is everywhere but under a test's clock. */
export const isTimed: Effect.Effect<boolean> = Effect.map(Effect.clock, isReal)

/** Ends the present turn for this fiber: on our schedulers it waits in its lane. */
const endTurn: Effect.Effect<void> = Effect.withFiberRuntime((fiber) =>
  isOurs(fiber.currentScheduler)
    ? Effect.yieldNow()
    : isReal(Context.get(fiber.getFiberRef(DefaultServices.currentServices), Clock.Clock))
      ? nextTurn
      : Effect.void
)

/** Between two steps of what takes long: goes on at once, or in a later turn of the event loop where this one is over. */
export const pause: Effect.Effect<void> = Effect.suspend(() => (isOver() ? endTurn : Effect.void))

/** As {@link pause}, without an effect where there is nothing to wait for. */
export const pauseIfOver = (): Effect.Effect<void> | undefined => (isOver() ? endTurn : undefined)

/**
 * Runs something that may take milliseconds in one step beside the agents' handlers, and not before other connections: of such
 * steps there is one in a turn.
 */
export const asWork = <A, E, R>(step: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.withFiberRuntime((fiber) =>
    fiber.currentScheduler === promptScheduler
      ? Effect.withScheduler(Effect.zipRight(Effect.yieldNow(), step), workingScheduler)
      : Effect.zipRight(pause, step)
  )

/** The scheduler for an agent's handler, where the runtime's fibers are on the prompt one; undefined: the program's own. */
export const forHandlers = (runtime: Runtime.Runtime<never>): Scheduler.Scheduler | undefined =>
  FiberRefs.getOrDefault(runtime.fiberRefs, FiberRef.currentScheduler) === promptScheduler
    ? workingScheduler
    : undefined

/** What a client asks about each request just before it opens a socket, in the fiber that asks for it. */
const holdForRequests = <A, E, R>(layer: Layer.Layer<A, E, R>): Layer.Layer<A, E, R> =>
  Layer.locallyWith(layer, HttpClient.currentTracerDisabledWhen, (isDisabled) => (request) => {
    hold()
    return isDisabled(request)
  })

/** A `ManagedRuntime`, and what runs synchronously, builds layers on a scheduler of its own that becomes Effect's: no program chose it. */
const isChosen = (scheduler: Scheduler.Scheduler): boolean =>
  scheduler !== Scheduler.defaultScheduler && !(scheduler instanceof Scheduler.SyncScheduler)

/**
 * Puts the fibers of a layer's services on the prompt scheduler, unless the program has chosen one of its own, or a clock that a test
 * moves: there what can run has run before the clock is moved on.
 */
export const scheduled = <A, E, R>(layer: Layer.Layer<A, E, R>): Layer.Layer<A, E, R> =>
  Layer.unwrapEffect(
    Effect.map(Effect.clock, (clock) =>
      isReal(clock)
        ? Layer.locallyWith(holdForRequests(layer), FiberRef.currentScheduler, (current) =>
            isChosen(current) ? current : promptScheduler
          )
        : layer
    )
  )
