/**
 * Watching a path. Node watches by path names, not by descriptors.
 *
 * Races: no event is reported for an entry that has replaced the one that was checked, and none below a directory that the lease does not
 * cover. A watch ends when the job's authority ends.
 */
import type * as PlatformError from "@effect/platform/Error"
import type * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { type FileChecks, read } from "./fileChecks.js"
import * as Calls from "./nodeCalls.js"
import type { Reaching } from "./nodeReach.js"
import * as RealTree from "./realTree.js"

const isNotFound = (error: PlatformError.PlatformError): boolean =>
  error._tag === "SystemError" && error.reason === "NotFound"

/** The operation of `fs`, guarded. */
export const watching =
  (fs: FileSystem.FileSystem, { alive, refuse }: FileChecks, { on }: Reaching): FileSystem.FileSystem["watch"] =>
  (text, options) =>
    Stream.unwrap(
      Effect.map(
        on("watch", text, read, ({ info, path }) => Effect.succeed({ info, path })),
        ({ info, path }) =>
          Stream.tap(fs.watch(path, options), (event) =>
            Effect.gen(function* () {
              const directory = RealTree.parentOf(
                event.path.startsWith("/") ? event.path : RealTree.join(path, event.path)
              )
              // The names of what it holds come with the directory itself; those of what is further below do not.
              if (directory !== path && directory !== RealTree.parentOf(path)) {
                yield* on("watch", directory, read, () => Effect.void)
              }
              yield* alive("watch", text)
              // Node watches the path, not the file: no event is reported for a file that has replaced it.
              yield* on("watch", text, read, (now) =>
                Calls.isSame(now.info, info)
                  ? Effect.void
                  : refuse("watch", text, read, "it changed while it was watched")
              ).pipe(Effect.catchIf(isNotFound, () => Effect.void))
            })
          )
      )
    )
