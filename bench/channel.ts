/** Calls between the processes of a benchmark: either side may call the other, answers find their callers by number. */
import type { ChildProcess } from "node:child_process"

/** What a process can be asked to do, by name. */
export type Tasks = { readonly [name: string]: (args: any) => unknown }

type Message =
  | { readonly call: number; readonly task: string; readonly args: unknown }
  | { readonly answer: number; readonly value?: unknown; readonly error?: string }

/** One end of the connection between a process and its parent. */
export class Channel {
  private calls = 0
  private readonly waiting = new Map<number, { resolve: (value: any) => void; reject: (error: Error) => void }>()
  private readonly port: ChildProcess | NodeJS.Process
  private readonly tasks: Tasks

  constructor(port: ChildProcess | NodeJS.Process, tasks: Tasks) {
    this.port = port
    this.tasks = tasks
    ;(port as ChildProcess).on("message", (message) => void this.take(message as Message))
  }

  /** Asks the other side; fails when the task fails there, or when the process ends before it has answered. */
  call<A>(task: string, args: unknown = {}): Promise<A> {
    const call = ++this.calls
    return new Promise<A>((resolve, reject) => {
      this.waiting.set(call, { resolve, reject })
      this.port.send!({ call, task, args })
    })
  }

  /** Nobody answers any more. */
  end(why: string): void {
    for (const { reject } of this.waiting.values()) reject(new Error(why))
    this.waiting.clear()
  }

  private async take(message: Message): Promise<void> {
    if ("answer" in message) {
      const caller = this.waiting.get(message.answer)
      this.waiting.delete(message.answer)
      if (message.error === undefined) caller?.resolve(message.value)
      else caller?.reject(new Error(message.error))
      return
    }
    let answer: Message
    try {
      const task = this.tasks[message.task]
      if (task === undefined) throw new Error(`there is no task ${message.task}`)
      answer = { answer: message.call, value: await task(message.args) }
    } catch (error) {
      answer = { answer: message.call, error: String((error as Error)?.stack ?? error) }
    }
    this.port.send!(answer)
  }
}
