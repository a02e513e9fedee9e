/**
 * The stdio transport (ARCP 1.0 §4.2): newline-delimited JSON over a process's standard streams.
 *
 * Responsibility: the *child* side is a server of one connection over its own stdin and stdout; the *parent* side is a
 * connector that spawns a child for each connection and sees to its end.
 *
 * The streams carry no close codes. The end of the input is a clean end (1000); a broken pipe is 1006; the parent tells from
 * the child's exit: 1000 after exit code 0, else 1006. A line over the limit is 1009 on the side that reads it.
 *
 * Race closed: what a child printed before it exited is read before the connection ends.
 *
 * A server on the process's own stdout takes it from everything else in the process: see {@link takeStdout}.
 */
import { type ChildProcessByStdio, spawn } from "node:child_process"
import type { Readable, Writable } from "node:stream"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { closeCodes, type Connection, Connector, Server, TransportError } from "./Connection.js"
import { Acceptor } from "./internal/Acceptor.js"
import { Alarm } from "./internal/Alarm.js"
import { millis } from "./internal/bounds.js"
import { dial } from "./internal/dial.js"
import type { Endpoint } from "./internal/Endpoint.js"
import { Inbox } from "./internal/Inbox.js"
import * as lineEndpoint from "./internal/lineEndpoint.js"
import { LineSplitter } from "./internal/LineSplitter.js"
import { Settled } from "./internal/Settled.js"
import * as stdout from "./internal/stdout.js"

/** What both sides can be told. */
export interface StreamOptions extends lineEndpoint.LineOptions {
  /** How long flushing may take on a close. Default: 5 seconds. */
  readonly closeTimeout?: Duration.DurationInput | undefined
}

/** A pair of byte streams to a peer. They belong to the connection: its end destroys them. */
export interface Streams {
  readonly input: Readable
  readonly output: Writable
}

/** How long after a broken output the input's end still makes it a clean end: a peer may close both at once. */
const bothEndsMillis = 100

const open = ({ input, output }: Streams, options: StreamOptions): Endpoint => {
  const limit = millis(options.closeTimeout ?? Duration.seconds(5))
  let inputEnded = false
  let outputFailed = false
  const alarm = new Alarm()
  const { endpoint } = lineEndpoint.make(input, output, options, {
    inputEnded: () => {
      inputEnded = true
      if (outputFailed) endpoint.end(closeCodes.normal, "")
      // the peer has said all that it will; what it asked may still be answered
      else endpoint.endInbound(() => endpoint.startClose(closeCodes.normal, ""))
    },
    inputFailed: (reason) => endpoint.end(closeCodes.abnormal, reason),
    outputFailed: (reason) => {
      outputFailed = true
      if (inputEnded) endpoint.end(closeCodes.normal, "")
      else alarm.set(bothEndsMillis, () => endpoint.end(closeCodes.abnormal, reason))
    },
    shut: () => {
      alarm.set(limit, () => endpoint.end(closeCodes.abnormal, ""))
      output.end(() => endpoint.end(closeCodes.normal, ""))
    }
  })
  endpoint.onEnd(() => alarm.clear())
  return endpoint
}

/** A connection over byte streams that are there already: a pipe, a socket, an SSH channel. The scope closes it. */
export const fromStreams = (
  streams: Streams,
  options: StreamOptions = {}
): Effect.Effect<Connection, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => open(streams, options)),
    (endpoint) => endpoint.close(closeCodes.normal, "")
  )

/** A server's options. Default streams: the process's stdin, and its stdout as {@link takeStdout} returns it. */
export interface ServerOptions extends StreamOptions, Partial<Streams> {}

/**
 * Takes the process's stdout for frames and returns the stream to write them to. From then on, what anything else in the process writes
 * to `process.stdout`, such as `console.log`, goes to stderr. Each call returns the same stream; it cannot be undone.
 *
 * {@link layerServer} does this by itself. Call it earlier where code runs before that which may print, such as modules that are loaded.
 * Out of reach are writes to file descriptor 1 itself (`fs.writeSync(1, …)`) and child processes that inherit it.
 */
export const takeStdout: Effect.Effect<Writable> = Effect.sync(stdout.take)

/**
 * A server of exactly one connection, which is there from the start. Its `connections` ends when that connection has ended:
 * then the process has nothing left to do.
 *
 * ```ts
 * StdioTransport.layerServer() // process.stdin and process.stdout
 * ```
 */
export const layerServer = (options: ServerOptions = {}): Layer.Layer<Server> =>
  Layer.scoped(
    Server,
    Effect.gen(function* () {
      const acceptor = new Acceptor()
      yield* Effect.acquireRelease(
        Effect.sync(() => {
          const endpoint = open(
            { input: options.input ?? process.stdin, output: options.output ?? stdout.take() },
            options
          )
          acceptor.accept(endpoint)
          endpoint.onEnd(() => acceptor.stop())
        }),
        () => acceptor.shutdown
      )
      return {
        connections: acceptor.connections,
        stopAccepting: Effect.sync(() => acceptor.stop()),
        restrict: acceptor.restrict,
        address: "stdio:"
      }
    })
  )

/** How to start a child runtime. */
export interface SpawnOptions extends lineEndpoint.LineOptions {
  /** The program: a path, or a name that is looked up on `PATH`. No shell is involved. */
  readonly command: string
  readonly args?: ReadonlyArray<string> | undefined
  /** Set on top of this process's environment. */
  readonly env?: { readonly [name: string]: string | Redacted.Redacted<string> } | undefined
  /** The child's working directory. Default: this process's. */
  readonly cwd?: string | undefined
  /** The child's stderr: shown on ours, dropped, or handed over line by line. Default: `"inherit"`. */
  readonly stderr?: "inherit" | "ignore" | ((line: string) => Effect.Effect<void>) | undefined
  /** After a close, how long the child may take to exit by itself before it gets SIGTERM. Default: 5 seconds. */
  readonly exitTimeout?: Duration.DurationInput | undefined
  /** After SIGTERM, how long before it gets SIGKILL. Default: 2 seconds. */
  readonly killTimeout?: Duration.DurationInput | undefined
}

type Child = ChildProcessByStdio<Writable, Readable, Readable | null>

const spawnError = (command: string, cause: NodeJS.ErrnoException): TransportError =>
  new TransportError({
    operation: "spawn",
    message: `could not start ${command}: ${
      cause.code === "ENOENT"
        ? "there is no such program, or no such working directory; check command, PATH and cwd"
        : cause.code === "EACCES"
          ? "it is not executable; check its permissions"
          : cause.message
    }`,
    cause
  })

const start = (options: SpawnOptions): Child => {
  const env: NodeJS.ProcessEnv = { ...process.env }
  for (const [name, value] of Object.entries(options.env ?? {})) {
    env[name] = Redacted.isRedacted(value) ? Redacted.value(value) : value
  }
  const stderr = options.stderr ?? "inherit"
  return spawn(options.command, [...(options.args ?? [])], {
    env,
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    stdio: ["pipe", "pipe", typeof stderr === "string" ? stderr : "pipe"],
    windowsHide: true
  }) as Child
}

/** How long the rest of a dead child's output may take: someone else may hold the pipe open. */
const readOutMillis = 1000

const childEndpoint = (child: Child, options: SpawnOptions): Endpoint => {
  const exitLimit = millis(options.exitTimeout ?? Duration.seconds(5))
  const killLimit = millis(options.killTimeout ?? Duration.seconds(2))
  let exited: { readonly code: number; readonly reason: string } | undefined
  let inputOver = false
  let ending = false
  const alarm = new Alarm()

  const finish = (): void => {
    endpoint.end(exited?.code ?? closeCodes.abnormal, exited?.reason ?? "the child process does not exit")
  }
  /** Asks the child to go, ever less politely. */
  const terminate = (): void => {
    if (ending || exited !== undefined) return
    ending = true
    child.stdin.end()
    alarm.set(exitLimit, () => {
      child.kill("SIGTERM")
      alarm.set(killLimit, () => {
        child.kill("SIGKILL")
        alarm.set(readOutMillis, finish)
      })
    })
  }
  const inputEnds = (): void => {
    inputOver = true
    if (exited !== undefined) finish()
    else terminate()
  }

  const { endpoint, readOut } = lineEndpoint.make(child.stdout, child.stdin, options, {
    inputEnded: inputEnds,
    inputFailed: inputEnds,
    outputFailed: terminate,
    shut: () => {
      if (exited !== undefined && inputOver) finish()
      else terminate()
    }
  })
  endpoint.onEnd(() => alarm.clear())
  child.once("exit", (code, signal) => {
    exited =
      code === 0
        ? { code: closeCodes.normal, reason: "the child process has exited" }
        : {
            code: closeCodes.abnormal,
            reason:
              signal === null
                ? `the child process exited with code ${code}`
                : `the child process was ended by ${signal}`
          }
    alarm.clear()
    if (inputOver || !endpoint.isOpen) return finish()
    // bounded by what the pipe holds: read it out, also for a reader that is slow
    alarm.set(readOutMillis, finish)
    readOut()
  })
  return endpoint
}

/** Hands the child's stderr over, line by line and in order; a slow receiver holds the child back. */
const forward = (
  stderr: Readable,
  to: (line: string) => Effect.Effect<void>,
  scope: Scope.Scope
): Effect.Effect<void> =>
  Effect.gen(function* () {
    const inbox = new Inbox<string>(() => stderr.resume())
    let splitter = new LineSplitter(65_536)
    stderr.on("data", (bytes: Uint8Array) => {
      for (const line of splitter.push(bytes)) {
        if (typeof line === "string") inbox.push(line)
        else {
          inbox.push("(a line that cannot be shown)")
          if (line.description === "line too long") splitter = new LineSplitter(65_536)
        }
      }
      if (inbox.length >= 256) stderr.pause()
    })
    stderr.on("error", () => inbox.end())
    stderr.on("close", () => {
      for (const line of splitter.end()) if (typeof line === "string") inbox.push(line)
      inbox.end()
    })
    const fiber = yield* Effect.forkDaemon(Effect.interruptible(Stream.runForEach(inbox.stream, to)))
    // runs after the child has ended: its last words are handed over too, if that goes quickly
    yield* Scope.addFinalizer(
      scope,
      Effect.interruptible(Fiber.await(fiber)).pipe(
        Effect.timeoutOption(Duration.millis(readOutMillis)),
        Effect.zipRight(Effect.sync(() => stderr.destroy())),
        Effect.zipRight(Fiber.interrupt(fiber))
      )
    )
  })

const attempt = (options: SpawnOptions) =>
  Effect.fnUntraced(function* (scope: Scope.Scope): Effect.fn.Return<Connection, TransportError> {
    const { endpoint, started } = yield* Effect.uninterruptible(
      Effect.gen(function* () {
        const child = yield* Effect.try({
          try: () => start(options),
          catch: (cause) => spawnError(options.command, cause as NodeJS.ErrnoException)
        })
        // out of file descriptors, Node hands out a child without streams
        if (!child.stdin || !child.stdout) {
          child.on("error", () => {})
          return yield* spawnError(options.command, new Error("too many files are open"))
        }
        // a program that could not be started reports that here, and so does a failing kill
        child.on("error", () => {})
        const started = new Settled<void, TransportError>()
        child.once("spawn", () => started.settle(Effect.void))
        child.once("error", (cause) => started.settle(Effect.fail(spawnError(options.command, cause))))
        const endpoint = childEndpoint(child, options)
        if (typeof options.stderr === "function" && child.stderr !== null)
          yield* forward(child.stderr, options.stderr, scope)
        yield* Scope.addFinalizer(
          scope,
          Effect.suspend(() => {
            if (child.pid !== undefined) return endpoint.close(closeCodes.normal, "")
            endpoint.end(closeCodes.abnormal, "the child process could not be started")
            return Effect.void
          })
        )
        return { endpoint, started }
      })
    )
    yield* started.wait
    return endpoint
  })

/** A connector whose every connection is a new child process. Closing the connection, or its scope, ends the child. */
export const makeClient = (options: SpawnOptions): typeof Connector.Service => ({
  connect: dial(
    attempt(options),
    Duration.seconds(10),
    () => new TransportError({ operation: "spawn", message: `could not start ${options.command}: it takes too long` })
  ),
  address: `stdio:${options.command}`
})

/**
 * Spawns a child runtime and talks to it over its stdin and stdout.
 *
 * ```ts
 * StdioTransport.layerClient({ command: "arcp", args: ["serve", "--stdio", "--demo"] })
 * ```
 *
 * When the scope closes: the child's stdin is closed; if it does not exit in `exitTimeout` it gets SIGTERM, and after
 * `killTimeout` SIGKILL.
 */
export const layerClient = (options: SpawnOptions): Layer.Layer<Connector> =>
  Layer.succeed(Connector, makeClient(options))
