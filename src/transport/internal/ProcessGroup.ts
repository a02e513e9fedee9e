/**
 * A child process and all that it has started: signals reach the whole group, and the group's end can be waited for.
 *
 * A child is the leader of a process group of its own. A first SIGTERM goes to the leader alone, which may hand it on (as `npx` does):
 * two signals would end many programs without their grace. What is left of the group when the leader has gone is told by a SIGTERM,
 * once, and in the end SIGKILL reaches every member. A group of its own does not get the terminal's Ctrl-C: when this process ends
 * without having closed its children, they find their stdin at its end, and get a SIGTERM.
 *
 * On Windows there are no such groups: the signals go to the child itself.
 */
import type { ChildProcess } from "node:child_process"
import { readdirSync, readFileSync } from "node:fs"
import { Alarm } from "./Alarm.js"

/** Whether a child is to be started as the leader of a group. */
export const detached = process.platform !== "win32"

const alive = new Set<number>()

const signalGroup = (pid: number, signal: NodeJS.Signals | 0): boolean => {
  try {
    process.kill(detached ? -pid : pid, signal)
    return true
  } catch {
    return false
  }
}

/** Whether a process of the group runs that is not dead already: a dead one stays where its parent does not ask for its end. */
const isAlive = (pid: number): boolean => {
  if (!detached || !signalGroup(pid, 0)) return false
  if (process.platform !== "linux") return true
  try {
    return readdirSync("/proc").some((name) => {
      if (!/^\d+$/.test(name)) return false
      try {
        const stat = readFileSync(`/proc/${name}/stat`, "utf8")
        const [state, , group] = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
        return group === String(pid) && state !== "Z" && state !== "X"
      } catch {
        return false
      }
    })
  } catch {
    return true
  }
}

const watch = (pid: number): void => {
  if (alive.size === 0) process.on("exit", terminateAll)
  alive.add(pid)
}

const unwatch = (pid: number): void => {
  alive.delete(pid)
  if (alive.size === 0) process.off("exit", terminateAll)
}

const terminateAll = (): void => {
  for (const pid of alive) signalGroup(pid, "SIGTERM")
}

/** How often a group that is to end is looked at. */
const lookMillis = 25

export class ProcessGroup {
  private readonly child: ChildProcess
  private readonly alarm = new Alarm()

  constructor(child: ChildProcess) {
    this.child = child
    if (child.pid !== undefined) watch(child.pid)
  }

  /** Asks the leader to end. */
  terminate(): void {
    this.child.kill("SIGTERM")
  }

  /** Ends every member at once. */
  kill(): void {
    if (this.child.pid === undefined || !signalGroup(this.child.pid, "SIGKILL")) this.child.kill("SIGKILL")
  }

  /** The leader has gone: ends the others, within `killMillis` by their own means, and then calls `done`. */
  endRest(killMillis: number, done: () => void): void {
    const pid = this.child.pid
    const over = (): void => {
      if (pid !== undefined) unwatch(pid)
      done()
    }
    if (pid === undefined || !isAlive(pid)) return over()
    signalGroup(pid, "SIGTERM")
    let left = Math.ceil(killMillis / lookMillis)
    const look = (): void => {
      if (!isAlive(pid)) return over()
      if (left-- > 0) return this.alarm.set(lookMillis, look)
      signalGroup(pid, "SIGKILL")
      this.alarm.set(lookMillis, over)
    }
    this.alarm.set(lookMillis, look)
  }
}
