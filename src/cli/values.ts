/** Values of options, read strictly; an error repeats what was given. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import * as Lease from "../authority/Lease.js"
import * as AgentName from "../protocol/AgentName.js"
import { WireLease } from "../protocol/Fields.js"
import { type Exit, usage } from "./errors.js"
import { isHost, isLoopback } from "../transport/Hosts.js"
import { quoted, visible } from "./visible.js"

/** A whole number within bounds. */
export const wholeNumber = (option: string, text: string, min: number, max: number): Effect.Effect<number, Exit> => {
  const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN
  return value >= min && value <= max
    ? Effect.succeed(value)
    : usage(`--${option} must be a whole number from ${min} to ${max}, not ${quoted(text)}`)
}

/** A text that is not empty. */
export const notEmpty = (option: string, text: string, what: string): Effect.Effect<string, Exit> =>
  text.trim() === "" ? usage(`--${option} must be ${what}, not an empty text`) : Effect.succeed(text)

/** Whether an address to listen on is reached from this machine only. */
const isLocal = (address: string): boolean => address.toLowerCase() === "localhost" || isLoopback(address)

/**
 * The hosts that `serve` takes; undefined: those of loopback. An address that other machines reach has to name them, since a page whose
 * name was made to point here would say any.
 */
export const hostsOf = (
  address: string,
  hosts: ReadonlyArray<string>
): Effect.Effect<"*" | ReadonlyArray<string> | undefined, Exit> => {
  if (hosts.includes("*")) return Effect.succeed("*")
  const wrong = hosts.find((host) => !isHost(host))
  if (wrong !== undefined) {
    return usage(
      `--allowed-host must be a host, such as agents.example or agents.example:7777, or *, not ${quoted(wrong)}`
    )
  }
  const named = hosts.length > 0 ? hosts : undefined
  return named !== undefined || isLocal(address)
    ? Effect.succeed(named)
    : usage(
        `--host ${quoted(address)} is reached by other machines: name the hosts that clients connect to, for example --allowed-host agents.example, or --allowed-host '*' for any`
      )
}

/** What to say of an address on which anybody can read what is sent; undefined where it is this machine's own. */
export const clearText = (address: string): string | undefined =>
  isLocal(address)
    ? undefined
    : `arcp: warning: ws:// on ${visible(address)} is not encrypted, so that the network can read tokens, inputs and results: put a proxy in front of it that speaks wss://`

/** The URL of a WebSocket; where it is wrong, a user's name and password in it are not repeated. */
export const webSocketUrl = (option: string, text: string): Effect.Effect<string, Exit> =>
  /^wss?:\/\/[^/?#]/i.test(text) && URL.canParse(text)
    ? Effect.succeed(text)
    : usage(
        `--${option} must be a ws:// or wss:// URL, for example ws://127.0.0.1:7777/arcp, not ${quoted(
          text.replace(/\/\/[^/?#]*@/, "//…@")
        )}`
      )

/** The path of an endpoint, as a URL spells it. */
export const urlPath = (option: string, text: string): Effect.Effect<string, Exit> =>
  text.startsWith("/") && URL.canParse(text, "http://x") && new URL(text, "http://x").pathname === text
    ? Effect.succeed(text)
    : usage(`--${option} must be the path of a URL that begins with /, for example /arcp, not ${quoted(text)}`)

/** `name` or `name@version`. */
export const agentName = (text: string): Effect.Effect<string, Exit> =>
  Either.match(AgentName.parse(text), {
    onLeft: ({ message }) =>
      usage(`AGENT must be name or name@version, not ${quoted(text)}: ${message.replace(/^agent: /, "")}`),
    onRight: () => Effect.succeed(text)
  })

const example = '{"fs.read": ["/data/**"]}'

/** A lease as a client asks for it (ARCP 1.1 §9.2). */
export const lease = (option: string, json: unknown): Effect.Effect<WireLease, Exit> =>
  Either.match(Schema.decodeUnknownEither(WireLease)(json), {
    onLeft: () =>
      usage(`--${option} must be a JSON object of capabilities and lists of patterns, for example ${example}`),
    onRight: (wire) =>
      Either.match(Lease.compile(wire), {
        onLeft: ({ message }) => usage(`--${option}: ${message.replace(/^lease_request[.:] ?/, "")}`),
        onRight: () => Effect.succeed(wire)
      })
  })

/** When a lease ends: a time in UTC that has not come yet (§9.5). */
export const expiresAt = (option: string, text: string): Effect.Effect<string, Exit> =>
  Effect.flatMap(Clock.currentTimeMillis, (now) =>
    Either.match(Lease.compile({}, { expires_at: text }, { now }), {
      onLeft: ({ message }) =>
        usage(`--${option}: ${message.replace(/^lease_constraints\.expires_at: /, "")}: ${quoted(text)}`),
      onRight: () => Effect.succeed(text)
    })
  )
