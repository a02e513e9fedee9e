/**
 * The stdio transport (ARCP 1.0 §4.2): newline-delimited JSON over a process's standard streams.
 *
 * Responsibility: the *child* side is a server of one connection over its own stdin and stdout; the *parent* side is a
 * connector that spawns a child for each connection and sees to its end.
 *
 * The streams carry no close codes. The end of the input is a clean end (1000); a broken pipe is 1006; the parent tells from
 * the child's exit: 1000 after exit code 0, else 1006. A line over the limit is 1009 on the side that reads it. A child whose stdout
 * does not begin with the protocol is 1002.
 *
 * Race closed: what a child printed before it exited is read before the connection ends.
 *
 * A server on the process's own stdout takes it from everything else in the process: see {@link takeStdout}.
 */
import type { Readable, Writable } from "node:stream"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { check as checkOptions, timerMillis } from "../protocol/Options.js"
import { closeCodes, type Connection, Connector, Server, TransportError } from "./Connection.js"
import { Acceptor } from "./internal/Acceptor.js"
import { Alarm } from "./internal/Alarm.js"
import * as childEndpoint from "./internal/childEndpoint.js"
import * as childStderr from "./internal/childStderr.js"
import { dial } from "./internal/dial.js"
import type { Endpoint } from "./internal/Endpoint.js"
import * as lineEndpoint from "./internal/lineEndpoint.js"
import { Settled } from "./internal/Settled.js"
import * as stdout from "./internal/stdout.js"
import type { LineOptions } from "./LineOptions.js"
import type { SpawnOptions } from "./SpawnOptions.js"

export type { LineOptions } from "./LineOptions.js"
export type { SpawnOptions } from "./SpawnOptions.js"

/**
 * What both sides can be told.
 *
 * @since 0.1.0
 * @category options
 */
export interface StreamOptions extends LineOptions {
  /** How long flushing may take on a close. Default: 5 seconds. */
  readonly closeTimeout?: Duration.DurationInput | undefined
}

/**
 * A pair of byte streams to a peer. They belong to the connection: its end destroys them.
 *
 * @since 0.1.0
 * @category models
 */
export interface Streams {
  /** What the peer sends, as bytes of UTF-8. */
  readonly input: Readable
  /** What is sent to the peer. */
  readonly output: Writable
}

/** How long after a broken output the input's end still makes it a clean end: a peer may close both at once. */
const bothEndsMillis = 100

const optionKinds = {
  maxFrameBytes: "size",
  highWaterBytes: "size",
  inboundBytes: "size",
  closeTimeout: "duration",
  exitTimeout: "duration",
  killTimeout: "duration"
} as const

const open = ({ input, output }: Streams, options: StreamOptions): Endpoint => {
  checkOptions("StdioTransport", options, optionKinds)
  const limit = timerMillis(options.closeTimeout ?? Duration.seconds(5))
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

/**
 * A connection over byte streams that are there already: a pipe, a socket, an SSH channel. The scope closes it.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromStreams = (
  streams: Streams,
  options: StreamOptions = {}
): Effect.Effect<Connection, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => open(streams, options)),
    (endpoint) => endpoint.close(closeCodes.normal, "")
  )

/**
 * A server's options. Default streams: the process's stdin, and its stdout as {@link takeStdout} returns it.
 *
 * @since 0.1.0
 * @category options
 */
export interface ServerOptions extends StreamOptions, Partial<Streams> {}

/**
 * Takes the process's stdout for frames and returns the stream to write them to. From then on, what anything else in the process writes
 * to `process.stdout`, such as `console.log`, goes to stderr. Each call returns the same stream; it cannot be undone.
 *
 * {@link layerServer} does this by itself. Call it earlier where code runs before that which may print, such as modules that are loaded.
 * Out of reach are writes to file descriptor 1 itself (`fs.writeSync(1, …)`) and child processes that inherit it.
 *
 * @since 0.1.0
 * @category functions
 */
export const takeStdout: Effect.Effect<Writable> = Effect.sync(stdout.take)

/** The server of one connection; `onGone` is called when that has ended. */
const serverOf = (options: ServerOptions, onGone: () => void): Layer.Layer<Server> =>
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
          endpoint.onEnd(() => {
            acceptor.stop()
            onGone()
          })
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

/**
 * A server of exactly one connection, which is there from the start. Its `connections` ends when that connection has ended:
 * then the process has nothing left to do. {@link launch} serves until then; with `Layer.launch` the process stays.
 *
 * @example
 * ```ts
 * import { StdioTransport } from "effect-arcp/transport/stdio"
 *
 * const Listen = StdioTransport.layerServer() // process.stdin and process.stdout
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerServer = (options: ServerOptions = {}): Layer.Layer<Server> => serverOf(options, () => {})

/**
 * Serves the one client at the other end of stdin and stdout, and ends when it has gone: launches a layer that needs a server with
 * {@link layerServer}. When the connection has ended, the layer is released as at any end: jobs get the runtime's `drainTime`.
 *
 * @example
 * ```ts
 * import { NodeRuntime } from "@effect/platform-node"
 * import { Effect, Layer } from "effect"
 * import { Agent } from "effect-arcp/agent"
 * import { Authenticator } from "effect-arcp/auth"
 * import { ArcpRuntime } from "effect-arcp/runtime"
 * import { MemoryStore } from "effect-arcp/store"
 * import { StdioTransport } from "effect-arcp/transport/stdio"
 *
 * const EchoLive = Agent.untyped("echo", (input) => Effect.succeed(input))
 *
 * const Main = ArcpRuntime.layer().pipe(
 *   Layer.provide(EchoLive),
 *   Layer.provide(Authenticator.layerAnonymous),
 *   Layer.provide(MemoryStore.layer)
 * )
 *
 * NodeRuntime.runMain(StdioTransport.launch(Main))
 * ```
 *
 * @since 0.2.0
 * @category functions
 */
export const launch = <A, E, R>(
  runtime: Layer.Layer<A, E, R>,
  options: ServerOptions = {}
): Effect.Effect<void, E, Exclude<R, Server>> =>
  Effect.flatMap(Deferred.make<void>(), (gone) => {
    const server = serverOf(options, () => Deferred.unsafeDone(gone, Exit.void))
    return Effect.raceFirst(Layer.launch(Layer.provide(runtime, server)), Deferred.await(gone))
  })

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

const attempt = (options: SpawnOptions) =>
  Effect.fnUntraced(function* (scope: Scope.Scope): Effect.fn.Return<Connection, TransportError> {
    const { endpoint, started } = yield* Effect.uninterruptible(
      Effect.gen(function* () {
        const child = yield* Effect.try({
          try: () => childEndpoint.start(options),
          catch: (cause) => spawnError(options.command, cause as NodeJS.ErrnoException)
        })
        // out of file descriptors, Node hands out a child without streams
        if (!child.stdin || !child.stdout || !child.stderr) {
          child.on("error", () => {})
          return yield* spawnError(options.command, new Error("too many files are open"))
        }
        // a program that could not be started reports that here, and so does a failing kill
        child.on("error", () => {})
        const started = new Settled<void, TransportError>()
        child.once("spawn", () => started.settle(Effect.void))
        child.once("error", (cause) => started.settle(Effect.fail(spawnError(options.command, cause))))
        const endpoint = childEndpoint.make(child, options)
        if (typeof options.stderr === "function") yield* childStderr.forward(child.stderr, options.stderr, scope)
        else if (options.stderr === "ignore") childStderr.drop(child.stderr)
        else childStderr.copy(child.stderr)
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

/**
 * A connector whose every connection is a new child process. Closing the connection, or its scope, ends the child.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeClient = (options: SpawnOptions): typeof Connector.Service => {
  checkOptions("StdioTransport", options, optionKinds)
  return connector(options)
}

const connector = (options: SpawnOptions): typeof Connector.Service => ({
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
 * The child runs in a process group of its own. When the scope closes: its stdin is closed; if it does not exit in `exitTimeout` it gets
 * SIGTERM, and after `killTimeout` its group gets SIGKILL. What it has started and left behind is ended with it, unless it has left the
 * group (`setsid`).
 *
 * Lines of text before the first frame are passed on as frames, which a client ignores. A byte-order mark, text without a line end, or a
 * frame without one end the connection with 1002 and a reason that quotes them.
 *
 * @example
 * ```ts
 * import { StdioTransport } from "effect-arcp/transport/stdio"
 *
 * const Child = StdioTransport.layerClient({ command: "arcp", args: ["serve", "--stdio", "--demo"] })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerClient = (options: SpawnOptions): Layer.Layer<Connector> =>
  Layer.succeed(Connector, makeClient(options))
