/** The `arcp` program: its commands and how it ends. */
import * as CliConfig from "@effect/cli/CliConfig"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as ValidationError from "@effect/cli/ValidationError"
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import { version as protocolVersion } from "../protocol/Envelope.js"
import { packageName, packageVersion } from "../protocol/Package.js"
import { Exit } from "./errors.js"
import { serve } from "./serve.js"
import { submit } from "./submit.js"
import { visibleLines } from "./visible.js"

const version = Command.make(
  "version",
  { json: Options.boolean("json").pipe(Options.withDescription("print as JSON")) },
  ({ json }) =>
    Console.log(
      json
        ? JSON.stringify({ name: packageName, version: packageVersion, protocol: protocolVersion })
        : `${packageName} ${packageVersion} (ARCP ${protocolVersion})`
    )
).pipe(Command.withDescription("Print the versions of this program and of the protocol"))

/** The client of the hosted agents. Loaded where it is needed: it is most of what the program would load. */
const agentsHttpClient = Layer.unwrapEffect(
  Effect.map(
    Effect.promise(() => import("../agent/PinnedHttpClient.js")),
    ({ layer }) => layer
  )
)

const arcp = Command.make("arcp").pipe(
  Command.withDescription("Agent Runtime Control Protocol: host agents and drive them"),
  Command.withSubcommands([Command.provide(serve, agentsHttpClient), submit, version])
)

const run = Command.run(arcp, { name: "arcp", version: packageVersion })

/**
 * Runs the program on `argv` (as `process.argv`) and answers its exit code: 0 on success, 1 when what was asked for
 * failed, 2 when it was asked wrongly. Logs go to stderr, since stdout carries results and, with `--stdio`, the protocol.
 */
export const main = (argv: ReadonlyArray<string>): Effect.Effect<number> =>
  run(argv).pipe(
    Effect.as(0),
    Effect.catchAll((error) =>
      error instanceof Exit
        ? Effect.as(Console.error(`arcp: ${visibleLines(error.message)}`), error.code)
        : ValidationError.isValidationError(error)
          ? Effect.succeed(2)
          : Effect.as(Console.error(`arcp: ${visibleLines(String(error))}`), 1)
    ),
    Effect.provide(
      Layer.mergeAll(
        NodeContext.layer,
        CliConfig.layer({ showBuiltIns: false }),
        Logger.replace(Logger.defaultLogger, Logger.withConsoleError(Logger.map(Logger.logfmtLogger, visibleLines))),
        Logger.minimumLogLevel(LogLevel.Warning)
      )
    )
  )
