/** Loading agents from modules: one that the user names, and the demo agents. */
import { existsSync, realpathSync } from "node:fs"
import { fileURLToPath, pathToFileURL } from "node:url"
import type * as FileSystem from "@effect/platform/FileSystem"
import type * as HttpClient from "@effect/platform/HttpClient"
import type * as Path from "@effect/platform/Path"
import { dirname, resolve } from "node:path"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Text from "../protocol/Text.js"
import { type Exit, usage } from "./errors.js"

/** What an agents module may ask of the program: a file system, paths and an HTTP client, each held to a job's lease. */
export type AgentLayer = Layer.Layer<never, unknown, FileSystem.FileSystem | HttpClient.HttpClient | Path.Path>

const layersOf = (module: Readonly<Record<string, unknown>>): ReadonlyArray<AgentLayer> => {
  const named = module.default ?? module.agents
  if (Layer.isLayer(named)) return [named as AgentLayer]
  if (Array.isArray(named) && named.every(Layer.isLayer)) return named as ReadonlyArray<AgentLayer>
  return Object.values(module).filter(Layer.isLayer) as ReadonlyArray<AgentLayer>
}

const load = (url: string, what: string): Effect.Effect<ReadonlyArray<AgentLayer>, Exit> =>
  Effect.tryPromise({
    // edge: the module is the user's, named at run time
    try: () => import(url) as Promise<Readonly<Record<string, unknown>>>,
    catch: (cause) => usage(`${what} cannot be loaded: ${Text.ofUnknown(cause)}`)
  }).pipe(
    Effect.map((module) => Text.attempt(() => layersOf(module), [])),
    Effect.filterOrFail(
      (layers) => layers.length > 0,
      () => usage(`${what} exports no agents: export layers, a default layer, or a list of layers called agents`)
    )
  )

/** The agents of a module: its default export or its export `agents` (a layer or a list), else every layer that it exports. */
export const loadAgents = (path: string): Effect.Effect<ReadonlyArray<AgentLayer>, Exit> =>
  load(pathToFileURL(resolve(path)).href, `--agents ${path}`)

/** The demo agents. */
export interface Demo {
  readonly agents: ReadonlyArray<AgentLayer>
  /** The real path of the folder that they are in, which they may read. */
  readonly folder: string
}

/** The demo agents, beside the built program or in the source tree. */
export const loadDemo: Effect.Effect<Demo, Exit> = Effect.suspend(() => {
  // A bundler may have moved this file, but not the program.
  const program = process.argv[1] === undefined ? import.meta.url : pathToFileURL(process.argv[1]).href
  const places = [import.meta.url, program].flatMap((from) =>
    ["../examples/agents.js", "../../examples/agents.ts"].map((place) => new URL(place, from))
  )
  const found = places.find((place) => existsSync(fileURLToPath(place)))
  return found === undefined
    ? Effect.fail(usage("--demo: the demo agents are not part of this installation"))
    : Effect.map(load(found.href, "--demo"), (agents) => ({
        agents,
        folder: realpathSync(dirname(fileURLToPath(found)))
      }))
})
