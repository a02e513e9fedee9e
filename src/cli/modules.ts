/** Loading agents from modules: one that the user names, and the demo agents. */
import { existsSync, realpathSync } from "node:fs"
import { fileURLToPath, pathToFileURL } from "node:url"
import type * as FileSystem from "@effect/platform/FileSystem"
import type * as HttpClient from "@effect/platform/HttpClient"
import type * as Path from "@effect/platform/Path"
import { dirname, resolve } from "node:path"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Text from "../protocol/Text.js"
import { type Exit, usage } from "./errors.js"

/** What an agents module may ask of the program: a file system, paths and an HTTP client, each held to a job's lease. */
export type AgentLayer = Layer.Layer<never, unknown, FileSystem.FileSystem | HttpClient.HttpClient | Path.Path>

/** How long a module may take to load: a top-level `await` may never end. */
const longestLoad = Duration.seconds(60)

/** What one export of a module is. */
type Found =
  | { readonly _tag: "agents"; readonly layers: ReadonlyArray<AgentLayer> }
  /** Nothing that hosts agents: a class, a function, a constant. */
  | { readonly _tag: "other" }
  /** Something that was to be agents and is none: to pass over it would lose agents silently. */
  | { readonly _tag: "wrong"; readonly why: string }

const other: Found = { _tag: "other" }
const wrong = (why: string): Found => ({ _tag: "wrong", why })

/** Each value is read once; a proxy may throw at anything. */
const isLayer = (value: unknown): value is AgentLayer => Text.attempt(() => Layer.isLayer(value), false)

const isPromise = (value: unknown): boolean => typeof Text.property(value, "then") === "function"

/** The entries of a list or of a plain object. */
const entriesOf = (value: object): ReadonlyArray<readonly [name: string, value: unknown]> =>
  Object.keys(value).map((key) => [
    Array.isArray(value) ? `[${key}]` : `.${key}`,
    (value as Readonly<Record<string, unknown>>)[key]
  ])

const isPlain = (value: unknown): value is object => {
  if (typeof value !== "object" || value === null) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return Array.isArray(value) || prototype === Object.prototype || prototype === null
}

/** An export: a layer, or a list or plain object that holds layers (as `module.exports` of CommonJS does). */
const look = (value: unknown): Found => {
  if (isLayer(value)) return { _tag: "agents", layers: [value] }
  if (isPromise(value)) {
    // Its failure is no one's to handle any more.
    Text.attempt(
      () => (value as { readonly then: (...on: ReadonlyArray<unknown>) => unknown }).then(noop, noop),
      undefined
    )
    return wrong("is a promise: export what it resolves to, by a top-level await")
  }
  if (!isPlain(value)) return other
  const entries = entriesOf(value)
  const layers = entries.flatMap(([, entry]) => (isLayer(entry) ? [entry] : []))
  if (layers.length === 0) {
    const promise = entries.find(([, entry]) => isPromise(entry))
    return promise === undefined ? other : wrong(`has a promise at ${promise[0]}: await it first`)
  }
  const odd = entries.find(([, entry]) => (Array.isArray(value) ? !isLayer(entry) : isPromise(entry)))
  return odd === undefined
    ? { _tag: "agents", layers }
    : wrong(`has ${isPromise(odd[1]) ? "a promise" : "something that is no layer"} at ${odd[0]}`)
}

const noop = (): void => {}

/** The agents of a module's exports, each once; or what is wrong with one of them. */
export const agentsOf = (module: Module): Either.Either<ReadonlyArray<AgentLayer>, string> => {
  const layers = new Set<AgentLayer>()
  for (const name of Reflect.ownKeys(module)) {
    if (typeof name !== "string") continue
    let found: Found
    try {
      found = look(module[name])
    } catch (cause) {
      found = wrong(`cannot be read: ${Text.ofUnknown(cause)}`)
    }
    if (found._tag === "wrong") return Either.left(`its export ${JSON.stringify(name)} ${found.why}`)
    if (found._tag === "agents") for (const layer of found.layers) layers.add(layer)
  }
  return layers.size > 0
    ? Either.right([...layers])
    : Either.left("it exports no agents: export layers, such as those of Agent.make(…).toLayer(…), or lists of layers")
}

type Module = Readonly<Record<string, unknown>>

const load = (url: string, what: string): Effect.Effect<Module, Exit> =>
  Effect.tryPromise({
    // edge: the module is the user's, named at run time
    try: () => import(url) as Promise<Module>,
    catch: (cause) => usage(`${what} cannot be loaded: ${Text.ofUnknown(cause)}`)
  }).pipe(
    Effect.timeoutFail({
      duration: longestLoad,
      onTimeout: () => usage(`${what} is not loaded after 60 seconds: does a top-level await of it never end?`)
    })
  )

const agentsIn = (module: Module, what: string): Effect.Effect<ReadonlyArray<AgentLayer>, Exit> =>
  Either.mapLeft(agentsOf(module), (why) => usage(`${what}: ${why}`))

/**
 * The agents of a module: every layer that it exports, by its default export or by name, alone, in a list or in a plain object; one that
 * is exported twice counts once. What else it exports is ignored, but for promises and for lists that hold other things beside layers.
 */
export const loadAgents = (path: string): Effect.Effect<ReadonlyArray<AgentLayer>, Exit> =>
  path.trim() === ""
    ? usage("--agents must be the path of a module, not an empty text")
    : Effect.flatMap(load(pathToFileURL(resolve(path)).href, `--agents ${path}`), (module) =>
        agentsIn(module, `--agents ${path}`)
      )

/** The demo agents. */
export interface Demo {
  readonly agents: ReadonlyArray<AgentLayer>
  /** Their names, in order. */
  readonly names: ReadonlyArray<string>
  /** The real path of the folder that they are in, which they may read. */
  readonly folder: string
}

/** The names of the agents whose definitions a module exports. */
const namesIn = (module: Module): ReadonlyArray<string> => {
  const names = Object.values(module).map((value) => Text.property(value, "agentName"))
  return [...new Set(names.filter((name) => typeof name === "string"))].toSorted()
}

/** The demo agents, beside the built program or in the source tree. */
export const loadDemo: Effect.Effect<Demo, Exit> = Effect.suspend(() => {
  // A bundler may have moved this file, but not the program.
  const program = process.argv[1] === undefined ? import.meta.url : pathToFileURL(process.argv[1]).href
  const places = [import.meta.url, program].flatMap((from) =>
    ["../examples/agents.js", "../../examples/agents.ts"].map((place) => new URL(place, from))
  )
  const found = places.find((place) => existsSync(fileURLToPath(place)))
  if (found === undefined) return usage("the demo agents are not part of this installation: give --agents MODULE")
  return Effect.flatMap(load(found.href, "--demo"), (module) =>
    Effect.map(agentsIn(module, "--demo"), (agents) => ({
      agents,
      names: namesIn(module),
      folder: realpathSync(dirname(fileURLToPath(found)))
    }))
  )
})
