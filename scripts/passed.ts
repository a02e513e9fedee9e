/**
 * Which files of `src` one act passes through: an event, from `Job.log` until the client has its frame, and a submit, from its frame
 * until the agent's handler runs. Measured by V8's precise coverage, which counts from one reading to the next: the acts are done many
 * times first, then the counters are reset, one act is done, and the counters are read. This is repeated, and only the files that every
 * repetition passed through count: on a busy machine, a turn of the event loop may end early and let other work run in between.
 *
 * A raw client and a runtime live in this process, over the memory transport with encoded frames and the store in memory. The client
 * negotiates no feature that sends frames by itself (no heartbeat, no acknowledgement). A file counts if one of its functions ran, or
 * resumed after a suspension, in that time. Functions of the script and of packages do not count, nor does code that ran while a module
 * was loaded.
 */
import { Session, type Profiler } from "node:inspector"
import { fileURLToPath } from "node:url"
import { Cause, Deferred, Effect, Layer, Logger, LogLevel, Stream } from "effect"
import { Agent, Job } from "../src/agent/index.js"
import { Authenticator } from "../src/auth/index.js"
import { ArcpRuntime, Limits } from "../src/runtime/index.js"
import { MemoryStore } from "../src/store/index.js"
import { Connector } from "../src/transport/Connection.js"
import * as MemoryTransport from "../src/transport/MemoryTransport.js"

/** A file, with the names of its functions that ran; those without a name are counted. */
export interface Passed {
  readonly path: string
  readonly functions: ReadonlyArray<string>
  readonly unnamed: number
}

export interface Paths {
  readonly event: ReadonlyArray<Passed>
  readonly submit: ReadonlyArray<Passed>
}

/** How many files of the runtime each act may pass through, without those of its kernel. */
export const targets: { readonly [Act in keyof Paths]: number } = { event: 7, submit: 12 }

const runtime = "src/runtime/"
const kernel = "src/runtime/kernel/"

/** The files of the runtime without its kernel, those of the kernel, and all. */
export const countOf = (passed: ReadonlyArray<Passed>) => {
  const inRuntime = passed.filter(({ path }) => path.startsWith(runtime))
  const inKernel = inRuntime.filter(({ path }) => path.startsWith(kernel))
  return { runtime: inRuntime.length - inKernel.length, kernel: inKernel.length, all: passed.length }
}

/** The functions of a file that ran, as V8 reports them. */
interface Ran {
  readonly functions: ReadonlyArray<Profiler.FunctionCoverage>
  readonly path: string
  readonly scriptId: string
}

/** What a loader and the engine add to a file. */
const added = new Set(["__name", "<instance_members_initializer>", "<static_initializer>"])

/** The functions that ran of each file of `src` under a root, files by their path from the root. */
export const ranIn = (scripts: ReadonlyArray<Profiler.ScriptCoverage>, root: string): ReadonlyArray<Ran> =>
  scripts.flatMap(({ functions, scriptId, url }): ReadonlyArray<Ran> => {
    const [file] = url.split(/[?#]/)
    const name = file!.startsWith("file:") ? fileURLToPath(file!).replaceAll("\\", "/") : file!
    if (!name.startsWith(`${root}src/`)) return []
    // A generator that goes on counts in its blocks, not as a call.
    const ran = functions.filter(
      ({ functionName, ranges }) => functionName !== "__name" && ranges.some(({ count }) => count > 0)
    )
    return ran.length === 0 ? [] : [{ path: name.slice(root.length), functions: ran, scriptId }]
  })

/** With names: a loader that keeps names writes them behind each function, as `__name(function, "name")`. */
export const named = (ran: ReadonlyArray<Ran>, sourceOf: (scriptId: string) => string): ReadonlyArray<Passed> =>
  ran
    .map(({ functions, path, scriptId }): Passed => {
      const source = sourceOf(scriptId)
      const names = functions.map(({ functionName, ranges }) =>
        functionName === "" ? (/^,\s*"([^"]+)"\)/.exec(source.slice(ranges[0]!.endOffset))?.[1] ?? "") : functionName
      )
      return {
        path,
        functions: [...new Set(names)].filter((name) => name !== "" && !added.has(name)).sort(),
        unnamed: names.filter((name) => name === "").length
      }
    })
    .sort((a, b) => (a.path < b.path ? -1 : 1))

/** The files that are in every measurement, as the first one has them. */
export const inEach = (measured: ReadonlyArray<ReadonlyArray<Passed>>): ReadonlyArray<Passed> =>
  (measured[0] ?? []).filter(({ path }) => measured.every((files) => files.some((file) => file.path === path)))

/** V8's counters: what ran since they were last read. `post` calls back synchronously, so they can be read anywhere. */
const counters = (root: string) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const session = new Session()
      session.connect()
      session.post("Profiler.enable")
      session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: true })
      return session
    }),
    (session) =>
      Effect.sync(() => {
        session.post("Profiler.stopPreciseCoverage")
        session.post("Profiler.disable")
        session.disconnect()
      })
  ).pipe(
    Effect.map((session) => {
      const look = (): ReadonlyArray<Ran> => {
        let scripts: ReadonlyArray<Profiler.ScriptCoverage> = []
        session.post("Profiler.takePreciseCoverage", (error, coverage) => {
          if (error !== null) throw error
          scripts = coverage.result
        })
        return ranIn(scripts, root)
      }
      const sources = new Map<string, string>()
      const sourceOf = (scriptId: string): string => {
        let source = sources.get(scriptId) ?? ""
        if (source !== "") return source
        session.post("Debugger.getScriptSource", { scriptId }, (error, script) => {
          if (error === null) source = script.scriptSource
        })
        sources.set(scriptId, source)
        return source
      }
      const name = (ran: ReadonlyArray<Ran>): ReadonlyArray<Passed> => {
        session.post("Debugger.enable")
        const passed = named(ran, sourceOf)
        session.post("Debugger.disable")
        return passed
      }
      return { look, name }
    })
  )

/** What the script and the agent share: how the agent is told to go on, and what runs at each end of an act. */
interface Stage {
  emit: (() => void) | undefined
  onHandler: () => void
  onLog: () => void
}

const agentsOn = (stage: Stage) =>
  Layer.mergeAll(
    Agent.untyped("started", () => Effect.sync(() => stage.onHandler())),
    Agent.untyped("emitter", () =>
      Effect.gen(function* () {
        const job = yield* Job
        while (true) {
          yield* Effect.async<void>((resume) => {
            stage.emit = () => resume(Effect.void)
          })
          stage.onLog()
          yield* job.log("one")
        }
      })
    )
  )

const runtimeOn = (stage: Stage) =>
  ArcpRuntime.layer({ drainTime: 0 }).pipe(
    Layer.provide(agentsOn(stage)),
    Layer.provideMerge(MemoryTransport.layerEncoded),
    Layer.provide(Authenticator.layerBearer({ t: "alice" })),
    Layer.provide(MemoryStore.layer),
    Layer.provide(Limits.layer({ messagesPerSecond: 1_000_000 })),
    Layer.provide(Logger.minimumLogLevel(LogLevel.Warning))
  )

/** Waits until all pending work has ended: nothing in this process waits for I/O, and no timer is due soon. */
const settled = Effect.promise(async () => {
  for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve))
})

/** A raw client: sends messages, and reports the type of each frame that it receives. */
const rawClient = Effect.gen(function* () {
  const connector = yield* Connector
  const connection = yield* connector.connect
  let received: (type: string) => void = () => undefined
  yield* Stream.runForEach(connection.inbound, (frame) =>
    Effect.sync(() => {
      if (typeof frame !== "string") throw new Error("the transport is not an encoded one")
      received((JSON.parse(frame) as { readonly type: string }).type)
    })
  ).pipe(Effect.forkScoped)
  let sent = 0
  const frameOf = (type: string, payload: object) => JSON.stringify({ arcp: "1.1", id: `m${++sent}`, type, payload })
  /** Sends a message and waits until a frame of the type `until` was received and pending work has ended. */
  const exchange = (type: string, payload: object, until: string, last: () => void = () => undefined) =>
    Effect.gen(function* () {
      const frame = frameOf(type, payload)
      const done = yield* Deferred.make<void>()
      received = (type) => {
        if (type !== until) return
        received = () => undefined
        Deferred.unsafeDone(done, Effect.void)
      }
      last()
      yield* connection.send([frame])
      yield* Deferred.await(done)
      yield* settled
    })
  const onFrame = (f: (type: string) => void): void => {
    received = f
  }
  return { exchange, onFrame }
})

const within = <A, E, R>(act: string, effect: Effect.Effect<A, E, R>) =>
  Effect.timeoutFailCause(effect, {
    duration: "30 seconds",
    onTimeout: () => Cause.die(new Error(`${act}: not seen within thirty seconds`))
  })

/** How often each act is measured. */
const rounds = 10

/** Measures both acts, each after `warmUps` that are not measured, for the sources under a root (with a slash at its end). */
export const measurePaths = (root: string, warmUps: number): Effect.Effect<Paths> => {
  const stage: Stage = { emit: undefined, onHandler: () => undefined, onLog: () => undefined }
  return Effect.gen(function* () {
    const { look, name } = yield* counters(root)
    const client = yield* within("connect", rawClient)
    const hello = {
      client: { name: "paths", version: "1" },
      auth: { scheme: "bearer", token: "t" },
      capabilities: { encodings: ["json"], features: [] }
    }
    yield* within("hello", client.exchange("session.hello", hello, "session.welcome"))

    const submitOne = (last?: () => void) =>
      within("submit", client.exchange("job.submit", { agent: "started", input: { n: 1 } }, "job.result", last))
    yield* Effect.replicateEffect(submitOne(), warmUps, { discard: true })
    const submits: Array<ReadonlyArray<Ran>> = []
    stage.onHandler = () => void submits.push(look())
    yield* Effect.replicateEffect(
      submitOne(() => void look()),
      rounds,
      { discard: true }
    )

    const emitOne = (seen: () => void) =>
      Effect.async<void>((resume) => {
        client.onFrame(() => {
          client.onFrame(() => undefined)
          seen()
          resume(Effect.void)
        })
        stage.emit!()
      }).pipe(Effect.zipLeft(settled))
    yield* within("submit", client.exchange("job.submit", { agent: "emitter" }, "job.event"))
    yield* Effect.replicateEffect(
      within(
        "event",
        emitOne(() => undefined)
      ),
      warmUps,
      { discard: true }
    )
    const events: Array<ReadonlyArray<Ran>> = []
    stage.onLog = () => void look()
    yield* Effect.replicateEffect(
      within(
        "event",
        emitOne(() => void events.push(look()))
      ),
      rounds,
      { discard: true }
    )
    return { event: inEach(events.map(name)), submit: inEach(submits.map(name)) }
  }).pipe(Effect.scoped, Effect.provide(runtimeOn(stage)), Effect.orDie)
}
