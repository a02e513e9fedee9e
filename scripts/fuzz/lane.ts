/** What the lanes of the fuzzer have in common: conversations by number, side by side, within bounds of time and frames. */

/** Frames of one conversation. */
export const perConversation = 64

/** Something that must not be. */
export interface Problem {
  readonly conversation: number
  /** The number of the frame that was the last one sent: `--from` begins with its conversation. */
  readonly frame: number
  readonly what: string
}

/** What a lane did, in numbers. */
export interface Figures {
  frames: number
  answers: number
  connections: number
  conversations: number
  /** What else is counted, by name. */
  readonly counts: Record<string, number>
  /** Bytes of the heap after a collection, at each rest. */
  readonly heaps: Array<number>
  /** The longest that a ping of the innocent waited, in milliseconds. */
  slowest: number
}

export const newFigures = (): Figures => ({
  frames: 0,
  answers: 0,
  connections: 0,
  conversations: 0,
  counts: {},
  heaps: [],
  slowest: 0
})

/** Which conversations a run has, and how long it goes on. */
export interface Bounds {
  readonly seed: number
  /** The number of the first frame: the run begins with the conversation that has it. */
  readonly from: number
  /** Conversations are numbered with this step: of several runs side by side each takes its own. */
  readonly step: number
  readonly frames: number
  readonly millis: number
  /** Frames between two rests, at which what lives and the heap are looked at. */
  readonly rest: number
  /** Conversations side by side; absent: as many as the lane has. */
  readonly beside?: number | undefined
  /** Called when a conversation begins. */
  readonly begins: (conversation: number) => void
  /** Called with each frame; absent: nobody looks. */
  readonly trace?: ((line: string) => void) | undefined
  /** How many times as long an answer may take, where others have the same processors; absent: 1. */
  readonly slack?: number | undefined
}

/** What a run of a lane came to. */
export interface Outcome extends Figures {
  readonly problems: ReadonlyArray<Problem>
  readonly millis: number
  /** The first frame of the conversation that would be next. */
  readonly next: number
}

/** One lane: something that is fuzzed in one way. */
export interface Lane {
  /** Has the conversation of this number; adds to the figures, and reports what must not be. */
  readonly converse: (conversation: number) => Promise<void>
  /** Nothing is going on: what must be so then. */
  readonly rested: () => Promise<void>
  readonly end: () => Promise<void>
  /** How many conversations go on side by side. */
  readonly beside: number
}

/** What a lane is made with. */
export interface Desk {
  readonly seed: number
  readonly figures: Figures
  readonly wrong: (conversation: number, sent: number, what: string) => void
  readonly trace: ((line: string) => void) | undefined
  readonly slack: number
}

/** Problems after which a run ends. */
const enough = 10

/** Lets everything else have a turn. */
export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

export const pause = (millis: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, millis))

/** Waits until it is so, in turns at first; false where the time is over. */
export const until = async (millis: number, isSo: () => boolean): Promise<boolean> => {
  const deadline = performance.now() + millis
  for (let turns = 0; !isSo(); turns++) {
    if (performance.now() > deadline) return false
    await (turns < 50 ? turn() : pause(2))
  }
  return true
}

/** How much the heap may be above what it was, in bytes: a tenth and 16 MiB. */
const mayGrow = (before: number): number => before * 1.1 + 16 * 1_048_576

const median = (values: ReadonlyArray<number>): number => values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0

/** Whether the heap has stopped growing: the last third's median is within the bound above the second third's. */
export const isFlat = (heaps: ReadonlyArray<number>): boolean => {
  const third = Math.floor(heaps.length / 3)
  return third < 2 || median(heaps.slice(2 * third)) <= mayGrow(median(heaps.slice(third, 2 * third)))
}

const collect = (): void => (globalThis as { gc?: () => void }).gc?.()

/** Runs a lane. */
export const runLane = async (make: (desk: Desk) => Promise<Lane>, bounds: Bounds): Promise<Outcome> => {
  const figures = newFigures()
  const problems: Array<Problem> = []
  const desk: Desk = {
    seed: bounds.seed,
    figures,
    trace: bounds.trace,
    slack: bounds.slack ?? 1,
    wrong: (conversation, sent, what) =>
      void problems.push({ conversation, frame: conversation * perConversation + sent, what })
  }
  const started = performance.now()
  const lane = await make(desk)
  let next = Math.floor(bounds.from / perConversation)
  let rests = 0
  const goesOn = (): boolean =>
    problems.length < enough && figures.frames < bounds.frames && performance.now() - started < bounds.millis
  const worker = async (): Promise<void> => {
    while (goesOn() && figures.frames < (rests + 1) * bounds.rest) {
      const conversation = next
      next += bounds.step
      bounds.begins(conversation)
      await lane.converse(conversation)
      figures.conversations++
    }
  }
  do {
    await Promise.all(Array.from({ length: bounds.beside ?? lane.beside }, worker))
    await lane.rested()
    collect()
    figures.heaps.push(process.memoryUsage().heapUsed)
    rests++
  } while (goesOn())
  await lane.end()
  if (!isFlat(figures.heaps)) {
    desk.wrong(next, 0, `the heap grows: ${figures.heaps.map((bytes) => Math.round(bytes / 1_048_576)).join(", ")} MiB`)
  }
  return { ...figures, problems, millis: performance.now() - started, next: next * perConversation }
}
