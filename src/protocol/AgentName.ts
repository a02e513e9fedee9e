/** Agent names: `name` or `name@version` (ARCP 1.1 §7.5). */
import * as Either from "effect/Either"
import { InvalidRequest } from "./Errors.js"

/**
 * An agent as a client names it: a version is an opaque string, absent where the default is meant.
 *
 * @since 0.1.0
 * @category models
 */
export interface AgentName {
  /** `[a-z0-9][a-z0-9._-]*`, at most {@link maxLength} characters. */
  readonly name: string
  /** An opaque string of `[a-zA-Z0-9.+_-]`; absent where the default version is meant. */
  readonly version?: string | undefined
}

/**
 * Names and versions are at most this long.
 *
 * @since 0.1.0
 * @category constants
 */
export const maxLength = 128

const namePattern = /^[a-z0-9][a-z0-9._-]*$/
const versionPattern = /^[a-zA-Z0-9.+_-]+$/

/**
 * Whether `text` is a bare agent name.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isName = (text: string): boolean => text.length <= maxLength && namePattern.test(text)

/**
 * Whether `text` is an agent version.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isVersion = (text: string): boolean => text.length <= maxLength && versionPattern.test(text)

/**
 * Parses `name` or `name@version` by the grammar of §7.5; what does not fit is `INVALID_REQUEST`.
 *
 * @since 0.1.0
 * @category decoding
 */
export const parse = (text: string): Either.Either<AgentName, InvalidRequest> => {
  const at = text.indexOf("@")
  const name = at === -1 ? text : text.slice(0, at)
  if (!isName(name)) {
    return Either.left(
      new InvalidRequest({
        message: `agent: a name is lower-case letters, digits, ".", "_" and "-", at most ${maxLength} characters`
      })
    )
  }
  if (at === -1) return Either.right({ name })
  const version = text.slice(at + 1)
  return isVersion(version)
    ? Either.right({ name, version })
    : Either.left(
        new InvalidRequest({
          message: `agent: a version is letters, digits, ".", "+", "_" and "-", at most ${maxLength} characters`
        })
      )
}

/**
 * `name@version`, or `name` where there is no version.
 *
 * @since 0.1.0
 * @category encoding
 */
export const format = (agent: AgentName): string =>
  agent.version === undefined ? agent.name : `${agent.name}@${agent.version}`
