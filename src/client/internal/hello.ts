/**
 * The first frame of a connection (ARCP 1.1 §6.1, §6.3): who the client is, what it authenticates with, which session it
 * resumes.
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Redacted from "effect/Redacted"
import { InvalidRequest, oneLine } from "../../protocol/Errors.js"
import * as encode from "./encode.js"
import { textOf } from "./text.js"

/** What a hello needs of the client's options. */
export interface HelloOptions {
  readonly client: { readonly name: string; readonly version: string }
  readonly auth:
    | {
        readonly scheme?: string | undefined
        readonly token: Redacted.Redacted<string> | Effect.Effect<Redacted.Redacted<string>>
      }
    | undefined
  readonly features: ReadonlyArray<string>
  readonly newId: () => string
}

/** The session to resume. */
export interface Resume {
  readonly sessionId: string
  readonly resumeToken: string
  readonly lastSeq: number
}

/** The text of a token. What is wrong about one is said without the value. */
const secret = (token: unknown): string | undefined => {
  try {
    const value: unknown = Redacted.isRedacted(token) ? Redacted.value(token) : undefined
    return typeof value === "string" ? value : undefined
  } catch {
    return undefined
  }
}

/**
 * Makes hellos. Name and features are encoded once; the token is asked for each time. Options that no hello can carry fail
 * with `InvalidRequest`, which names the field.
 */
export const make = (
  options: HelloOptions
): ((resume: Resume | undefined) => Effect.Effect<string, InvalidRequest>) => {
  const { auth } = options
  const client = encode.json("payload.client", options.client)
  const capabilities = encode.json("payload.capabilities", { encodings: ["json"], features: options.features })
  const credential = Effect.gen(function* () {
    if (auth === undefined) return undefined
    const token = secret(Effect.isEffect(auth.token) ? yield* auth.token : auth.token)
    if (token === undefined) return yield* new InvalidRequest({ message: "auth.token: must be a Redacted string" })
    return yield* encode.object("payload.auth", { scheme: auth.scheme ?? "bearer", token })
  })
  return (resume) =>
    Effect.gen(function* () {
      const at =
        resume === undefined
          ? undefined
          : { session_id: resume.sessionId, resume_token: resume.resumeToken, last_event_seq: resume.lastSeq }
      const request = encode.request({
        client: yield* client,
        auth: yield* credential,
        capabilities: yield* capabilities,
        resume: at,
        ...at
      })
      return encode.frame("session.hello", options.newId(), undefined, yield* request)
    })
}

/** A resume that was handed over by another process, checked. It may be of any shape, and its getters may throw. */
export const checkResume = (given: unknown): Either.Either<Resume, InvalidRequest> => {
  const invalid = (field: string, should: string) =>
    Either.left(new InvalidRequest({ message: `resume${field}: must be ${should}` }))
  try {
    if (typeof given !== "object" || given === null) return invalid("", "the facts of a session")
    const { lastEventSeq: lastSeq, resumeToken: token, sessionId } = given as { readonly [field: string]: unknown }
    if (typeof sessionId !== "string") return invalid(".sessionId", "a string")
    const resumeToken = secret(token)
    if (resumeToken === undefined) return invalid(".resumeToken", "a Redacted string")
    return typeof lastSeq === "number" && Number.isSafeInteger(lastSeq)
      ? // Other clients say -1 where they have seen nothing.
        Either.right({ sessionId, resumeToken, lastSeq: Math.max(0, lastSeq) })
      : invalid(".lastEventSeq", "a whole number")
  } catch (cause) {
    return Either.left(new InvalidRequest({ message: oneLine(`resume: cannot be read: ${textOf(cause)}`) }))
  }
}
