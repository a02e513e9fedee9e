/** The `arcp` program: its commands and how it ends. */
import * as CliConfig from "@effect/cli/CliConfig"
import * as Command from "@effect/cli/Command"
import * as HelpDoc from "@effect/cli/HelpDoc"
import * as Options from "@effect/cli/Options"
import * as ValidationError from "@effect/cli/ValidationError"
import * as NodeCommandExecutor from "@effect/platform-node/NodeCommandExecutor"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodePath from "@effect/platform-node/NodePath"
import * as NodeTerminal from "@effect/platform-node/NodeTerminal"
import * as Cause from "effect/Cause"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import { version as protocolVersion } from "../protocol/Envelope.js"
import { packageName, packageVersion } from "../protocol/Package.js"
import * as Text from "../protocol/Text.js"
import { asShown, leastLevel } from "./logLevel.js"
import { Exit, exitCodes, usage } from "./errors.js"
import { coloured, emptyOption, optionNames, parserConsole } from "./parserConsole.js"
import { serve } from "./serve.js"
import { serveOptions } from "./serveOptions.js"
import { store } from "./store.js"
import { rekeyOptions } from "./storeOptions.js"
import { submit } from "./submit.js"
import { submitOptions } from "./submitOptions.js"
import { visible, visibleLines } from "./visible.js"

const versionOptions = { json: Options.boolean("json").pipe(Options.withDescription("print as JSON")) }

const version = Command.make("version", versionOptions, ({ json }) =>
  Console.log(
    json
      ? JSON.stringify({ name: packageName, version: packageVersion, protocol: protocolVersion })
      : `${packageName} ${packageVersion} (ARCP ${protocolVersion})`
  )
).pipe(Command.withDescription("Print the versions of this program and of the protocol"))

const footer = HelpDoc.sequence(
  HelpDoc.h1("EXIT CODES"),
  exitCodes
    .map(([code, meaning]) => HelpDoc.p(`${code}: ${meaning}`))
    .reduce((above, line) => HelpDoc.sequence(above, line))
)

const known: Readonly<Record<string, ReadonlySet<string>>> = {
  serve: optionNames(serveOptions),
  store: optionNames(rekeyOptions),
  submit: optionNames(submitOptions),
  version: optionNames(versionOptions)
}

const run = (argv: ReadonlyArray<string>) =>
  Effect.consoleWith((console) => {
    const options = known[argv.find((arg) => Object.hasOwn(known, arg)) ?? ""] ?? new Set()
    const empty = emptyOption(argv, options)
    if (empty !== undefined) return usage(`${empty} must not be an empty text`)
    // The parser would list the commands that are not of `store`.
    const [, , command, nested] = argv
    if (command === "store" && nested !== undefined && nested !== "rekey" && !nested.startsWith("-")) {
      return usage(`arcp store has no command ${visible(nested)}: use rekey`)
    }
    const arcp = Command.make("arcp").pipe(
      Command.withDescription("Agent Runtime Control Protocol: host agents and drive them"),
      Command.withSubcommands([serve, submit, store, version]),
      // The parser's console is for the parser; what a command prints must not change.
      Command.transformHandler((handler) => Effect.withConsole(handler, console))
    )
    return Command.run(arcp, { name: "arcp", version: packageVersion, footer })(argv).pipe(
      Effect.withConsole(
        parserConsole(console, {
          argv,
          known: options,
          colours: coloured(process.stdout, process.env)
        })
      )
    )
  })

const complain = (message: string) => Console.error(`arcp: ${visibleLines(message)}`)

/**
 * Runs the program on `argv` (as `process.argv`) and returns its exit code, as {@link exitCodes} lists them. Logs go to stderr, since
 * stdout carries results and, with `--stdio`, the protocol.
 */
export const main = (argv: ReadonlyArray<string>): Effect.Effect<number> =>
  run(argv).pipe(
    Effect.as(0),
    Effect.catchAll((error) =>
      error instanceof Exit
        ? Effect.as(complain(error.message), error.code)
        : ValidationError.isValidationError(error)
          ? Effect.succeed(2)
          : Effect.as(complain(Text.ofUnknown(error)), 1)
    ),
    // Such as the defect of an agents' layer, or a service that it needs and that is not here.
    Effect.catchAllCause((cause) =>
      Cause.isInterrupted(cause)
        ? Effect.failCause(cause)
        : Effect.as(complain(`unexpected failure: ${Text.ofCause(cause)}`), 1)
    ),
    Effect.provide(
      Layer.mergeAll(
        // All of NodeContext but its workers, which are long to load and no handler gets.
        Layer.provideMerge(NodeCommandExecutor.layer, NodeFileSystem.layer),
        NodePath.layer,
        NodeTerminal.layer,
        CliConfig.layer({ showBuiltIns: false }),
        Logger.replace(
          Logger.defaultLogger,
          asShown(Logger.withConsoleError(Logger.map(Logger.logfmtLogger, visibleLines)))
        ),
        leastLevel
      )
    )
  )
