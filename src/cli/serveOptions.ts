/** The options of `arcp serve`. */
import type * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Redacted from "effect/Redacted"
import { logLevel } from "./logLevel.js"

export const serveOptions = {
  tokenFile: Options.text("token-file").pipe(
    Options.withDescription(
      "a file of bearer tokens and whose they are, one TOKEN=PRINCIPAL a line; the environment variable ARCP_TOKENS may hold the same"
    ),
    Options.optional
  ),
  token: Options.text("token").pipe(
    Options.withDescription(
      "TOKEN=PRINCIPAL, for trials: other users of this machine can see it until the program has overwritten its title; repeatable"
    ),
    Options.repeated,
    Options.map((tokens) => tokens.map((token) => Redacted.make(token)))
  ),
  bearer: Options.redacted("bearer").pipe(
    Options.withDescription("the one bearer token to accept, for trials as --token; needs --principal"),
    Options.optional
  ),
  principal: Options.text("principal").pipe(
    Options.withDescription("whose token --bearer is, for example alice@example.com"),
    Options.optional
  ),
  anonymous: Options.boolean("anonymous").pipe(
    Options.withDescription("admit clients without a token; each session is a principal of its own")
  ),
  allow: Options.text("allow").pipe(
    Options.withDescription(
      "what jobs may be granted at most, as CAPABILITY=PATTERN, such as fs.read=/data/**; repeatable. Without it and the next two: tool.call, and for the demo agents their own folder"
    ),
    Options.repeated
  ),
  allowFile: Options.text("allow-file").pipe(
    Options.withDescription(
      'a JSON file of what each principal\'s jobs may be granted: {"alice": {"fs.read": ["/data/**"]}, "bob": "any", "*": {}}'
    ),
    Options.optional
  ),
  allowAny: Options.boolean("allow-any").pipe(
    Options.withDescription("grant jobs whatever they ask for, but /proc, /sys and /dev")
  ),
  host: Options.text("host").pipe(
    Options.withDescription("the address to listen on"),
    Options.withDefault("127.0.0.1")
  ),
  allowedHost: Options.text("allowed-host").pipe(
    Options.withDescription(
      "a Host header that is served, such as agents.example or agents.example:7777, or * for any; repeatable. Required where --host is reached by other machines; on a loopback address its own names without it"
    ),
    Options.repeated
  ),
  port: Options.text("port").pipe(
    Options.withDescription("the port to listen on; 0 picks a free one"),
    Options.withDefault("7777")
  ),
  path: Options.text("path").pipe(Options.withDescription("the path of the endpoint"), Options.withDefault("/arcp")),
  stdio: Options.boolean("stdio").pipe(Options.withDescription("serve one client on stdin and stdout, no port")),
  store: Options.text("store").pipe(
    Options.withDescription("a SQLite file, so that jobs and sessions outlive the runtime; in memory when absent"),
    Options.optional
  ),
  storeKeyEnv: Options.text("store-key-env").pipe(
    Options.withDescription(
      "the environment variable that holds the key with which the store is encrypted: at least 32 random bytes, in any spelling"
    ),
    Options.optional
  ),
  audit: Options.text("audit").pipe(
    Options.withDescription(
      "a file to which the audit trail is appended, a JSON record a line: who was admitted and refused, what leases denied, what became of credentials; - for stderr"
    ),
    Options.optional
  ),
  agents: Options.text("agents").pipe(
    Options.withDescription("a module that exports agent layers; repeatable. Without it the demo agents are hosted"),
    Options.repeated
  ),
  drain: Options.text("drain").pipe(
    Options.withDescription("seconds that running jobs get when the program is told to stop (SIGTERM, SIGINT)"),
    Options.withDefault("10")
  ),
  demo: Options.boolean("demo").pipe(Options.withDescription("host the demo agents, also beside --agents")),
  logLevel
}

/** What the command line says. */
export type ServeArgs = Command.Command.ParseConfig<typeof serveOptions>
