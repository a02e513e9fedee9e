/**
 * The drivers of Node for the services of a handler, where this process can use them.
 *
 * `@effect/platform-node` is an optional peer: it is loaded where it is installed, to recognise its services among those of an agent. A
 * program without it has no service of Node's, and needs no driver.
 */
import * as FileSystem from "@effect/platform/FileSystem"
import type { UnknownException } from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { GuardDrivers } from "../../../agent/Guard.js"
import * as NodeFiles from "../../../agent/NodeFiles.js"

const isMissing = ({ error }: UnknownException): boolean =>
  (error as NodeJS.ErrnoException | undefined)?.code === "ERR_MODULE_NOT_FOUND"

/** Finds them. Never fails: without a driver the portable guard does. */
export const nodeDrivers: Effect.Effect<GuardDrivers> = Effect.gen(function* () {
  if (!(yield* NodeFiles.isSupported)) return {}
  const { layer } = yield* Effect.tryPromise(() => import("@effect/platform-node/NodeFileSystem"))
  const services = yield* Effect.scoped(Layer.build(layer))
  return { fileSystem: NodeFiles.driver(Context.get(services, FileSystem.FileSystem)) }
}).pipe(
  Effect.catchAll((error) =>
    isMissing(error)
      ? Effect.succeed({})
      : Effect.as(Effect.logWarning("the file system driver cannot be loaded; the portable guard is used", error), {})
  )
)
