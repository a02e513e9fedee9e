/** Threads of the fuzzer, and what a thread that dies or hangs is. */
import { Worker } from "node:worker_threads"
import { newFigures, type Outcome, perConversation } from "./lane.js"
import type { Task } from "./worker.js"

/** Milliseconds without a turn of a thread's event loop after which it hangs. */
const longest = 60_000

/** Milliseconds that a thread may take beyond its time, for the last conversations and its end. */
const beyond = 120_000

/** MiB of a thread's heap, at which it dies. */
const memory = 1_024

/** Runs a task in a thread of its own; a thread that dies or hangs is a problem of the conversation that began last. */
export const runTask = (task: Omit<Task, "beats">): Promise<Outcome> =>
  new Promise((resolve) => {
    const beats = new Int32Array(new SharedArrayBuffer(8))
    const started = performance.now()
    const worker = new Worker(new URL("./worker.js", import.meta.url), {
      workerData: { ...task, beats } satisfies Task,
      resourceLimits: { maxOldGenerationSizeMb: memory }
    })
    let seen = 0
    let seenAt = performance.now()
    const failed = (what: string): void => {
      const conversation = Atomics.load(beats, 1)
      done({
        ...newFigures(),
        problems: [{ conversation, frame: conversation * perConversation, what }],
        millis: performance.now() - started,
        next: (conversation + 1) * perConversation
      })
    }
    const watch = setInterval(() => {
      const beat = Atomics.load(beats, 0)
      const now = performance.now()
      if (beat !== seen) seenAt = now
      seen = beat
      if (now - seenAt > longest) failed(`the thread has not turned for ${longest / 1_000} s`)
      else if (now - started > task.millis + beyond) failed("the lane does not end")
    }, 1_000)
    const done = (outcome: Outcome): void => {
      clearInterval(watch)
      void worker.terminate().then(() => resolve(outcome))
    }
    worker.once("message", done)
    worker.once("error", (error) => failed(`the thread died: ${error.stack ?? String(error)}`))
  })
