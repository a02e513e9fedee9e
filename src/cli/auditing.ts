/** Where `arcp serve --audit` leaves the audit trail. */
import type * as FileSystem from "@effect/platform/FileSystem"
import type * as Path from "@effect/platform/Path"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Text from "../protocol/Text.js"
import { Audit } from "../runtime/index.js"
import { type Exit, failed } from "./errors.js"
import { usedFile } from "./files.js"

/** Beside the log lines, and never on stdout, which may carry frames. */
const stderr = Audit.layer((records) => Console.error(records.map(Audit.toLine).join("\n")))

/** The layer of the trail that the command line asks for; what cannot be the path of a file is refused. */
export const auditOf = (
  path: Option.Option<string>
): Effect.Effect<Layer.Layer<never, Exit, FileSystem.FileSystem>, Exit, FileSystem.FileSystem | Path.Path> =>
  Option.match(path, {
    onNone: () => Effect.succeed(Layer.empty),
    onSome: (path) =>
      path === "-"
        ? Effect.succeed(stderr)
        : Effect.as(
            usedFile("audit", path, "the path of a file, or - for stderr"),
            Layer.mapError(Audit.layerNdjson(path), (error) =>
              failed(`--audit: ${path} cannot be written: ${Text.ofUnknown(error, 256)}`)
            )
          )
  })
