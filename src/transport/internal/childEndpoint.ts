/**
 * An {@link Endpoint} over a child process: how it starts, how it is asked to go, and what its end says.
 *
 * Order of the end: the child's stdin is closed; after `exitTimeout` the child gets SIGTERM; after `killTimeout` its whole group gets
 * SIGKILL. When the child has exited, what is left of its group is ended too; then what is still in its pipes is read, and the
 * connection ends with the exit code, and with the end of its stderr where it failed or never sent a frame.
 */
import { type ChildProcessByStdio, spawn } from "node:child_process"
import type { Readable, Writable } from "node:stream"
import * as Duration from "effect/Duration"
import * as Redacted from "effect/Redacted"
import { closeCodes } from "../Connection.js"
import type { SpawnOptions } from "../SpawnOptions.js"
import { Alarm } from "./Alarm.js"
import type { Endpoint } from "./Endpoint.js"
import * as lineEndpoint from "./lineEndpoint.js"
import { Prelude } from "./Prelude.js"
import { detached, ProcessGroup } from "./ProcessGroup.js"
import { Tail } from "./Tail.js"
import { timerMillis } from "../../protocol/Options.js"

export type Child = ChildProcessByStdio<Writable, Readable, Readable>

/** Starts the child as the leader of a process group of its own. */
export const start = (options: SpawnOptions): Child => {
  const env: NodeJS.ProcessEnv = { ...process.env }
  for (const [name, value] of Object.entries(options.env ?? {})) {
    env[name] = Redacted.isRedacted(value) ? Redacted.value(value) : value
  }
  return spawn(options.command, [...(options.args ?? [])], {
    env,
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    stdio: ["pipe", "pipe", "pipe"],
    detached,
    windowsHide: true
  })
}

/** How long the rest of a dead child's output may take: a process that has left the group may hold the pipe open. */
const readOutMillis = 1000

/** Time for a runtime to close its sessions and store once its jobs have ended. */
const marginMillis = 5000

export const make = (child: Child, options: SpawnOptions): Endpoint => {
  const drain = Duration.toMillis(options.drainTime ?? Duration.seconds(10)) + marginMillis
  const exitLimit = timerMillis(options.exitTimeout ?? drain)
  const killLimit = timerMillis(options.killTimeout ?? drain)
  const group = new ProcessGroup(child)
  const prelude = new Prelude()
  const tail = new Tail()
  let exited: { readonly code: number; readonly reason: string } | undefined
  let groupOver = false
  let inputOver = false
  let stderrOver = false
  let ending = false
  const alarm = new Alarm()

  /** What the child has said, for a reader who looks for its fault. */
  const context = (): string => {
    const instead = line.waitsForFirst ? prelude.instead(line.unfinished()) : undefined
    const told = tail.text
    return `${instead === undefined ? "" : `; its stdout has ${instead} and no frame`}${
      told === undefined ? "" : `; its stderr ends with ${told}`
    }`
  }
  const finish = (): void => {
    if (exited === undefined) return endpoint.end(closeCodes.abnormal, "the child process does not exit")
    const before = line.waitsForFirst ? " before its first frame" : ""
    const failed = exited.code !== closeCodes.normal || line.waitsForFirst
    endpoint.end(exited.code, `${exited.reason}${before}${failed ? context() : ""}`)
  }
  const finishOnceRead = (): void => {
    if (groupOver && inputOver && stderrOver) finish()
  }
  /** Asks the child to go, ever less politely. */
  const terminate = (): void => {
    if (ending || exited !== undefined) return
    ending = true
    child.stdin.end()
    alarm.set(exitLimit, () => {
      group.terminate()
      alarm.set(killLimit, () => {
        group.kill()
        alarm.set(readOutMillis, finish)
      })
    })
  }
  const inputEnds = (): void => {
    inputOver = true
    if (exited !== undefined) finishOnceRead()
    else terminate()
  }

  const line = lineEndpoint.make(child.stdout, child.stdin, options, {
    inputEnded: inputEnds,
    inputFailed: inputEnds,
    outputFailed: terminate,
    shut: () => {
      if (exited === undefined) return terminate()
      if (groupOver) finish()
    },
    prelude,
    // The polite close of a client has no reason, and no fault to explain.
    explain: (reason) => (reason === "" || !line.waitsForFirst ? reason : `${reason}${context()}`)
  })
  const { endpoint, readOut } = line
  endpoint.onEnd(() => alarm.clear())
  child.stderr.on("data", (bytes: Uint8Array) => tail.push(bytes))
  child.stderr.once("close", () => {
    stderrOver = true
    if (exited !== undefined) finishOnceRead()
  })
  child.once("exit", (code, signal) => {
    exited =
      signal !== null
        ? { code: closeCodes.abnormal, reason: `the child process was ended by ${signal}` }
        : code === 0
          ? { code: closeCodes.normal, reason: "the child process has exited" }
          : { code: closeCodes.abnormal, reason: `the child process exited with code ${code}` }
    alarm.clear()
    // bounded by what the pipe holds: read it out, also for a reader that is slow
    readOut()
    group.endRest(killLimit, () => {
      groupOver = true
      if (!endpoint.isOpen) return finish()
      alarm.set(readOutMillis, finish)
      finishOnceRead()
    })
  })
  return endpoint
}
