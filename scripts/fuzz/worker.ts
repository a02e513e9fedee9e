/** A thread that runs one lane: its heap is its own, and what never returns ends with it. */
import { parentPort, workerData } from "node:worker_threads"
import { runLane } from "./lane.js"
import { type LaneName, lanes } from "./lanes.js"

/** What a thread is told. */
export interface Task {
  readonly lane: LaneName
  readonly seed: number
  readonly from: number
  readonly step: number
  readonly frames: number
  readonly millis: number
  readonly rest: number
  readonly beside: number | undefined
  readonly trace: boolean
  /** Beats while the thread's event loop turns, and the conversation that began last. */
  readonly beats: Int32Array
}

const { beats, lane, trace, ...bounds } = workerData as Task
const beating = setInterval(() => Atomics.add(beats, 0, 1), 100)
const outcome = await runLane(lanes[lane].make, {
  ...bounds,
  begins: (conversation) => Atomics.store(beats, 1, conversation),
  trace: trace ? (line) => process.stdout.write(`${line}\n`) : undefined
})
clearInterval(beating)
parentPort!.postMessage(outcome)
