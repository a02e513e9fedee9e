/**
 * Credentials at a LiteLLM proxy: a virtual key for each job (ARCP 1.1 §9.8, §13.7), over `@effect/platform`'s HttpClient.
 *
 * What the proxy enforces: the budget in USD as `max_budget`, the models, the lease's expiry as a `duration`. Other currencies
 * it does not know; they stay with the runtime. The `constraints` of a credential say which of these hold.
 *
 * A key is named by an alias made from the provisioner's reference, which is its handle: it is known before the proxy is asked,
 * so a key whose answer was lost is found again. Making a key is never repeated, deleting one is. Nothing that the proxy
 * says is repeated in an error: it has been seen to quote keys and their hashes.
 */
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import type * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Amount from "../../authority/Amount.js"
import { formatTimestamp } from "../../protocol/Fields.js"
import { check as checkOptions } from "../../protocol/Options.js"
import {
  CredentialProvisioner,
  type Issued,
  ProvisionError,
  type ProvisionRequest,
  RevokeError
} from "./CredentialProvisioner.js"
import { toLiteLlm } from "./internal/liteLlmModels.js"

/**
 * Where the proxy is, and how leases are put into its terms.
 *
 * @since 0.1.0
 * @category options
 */
export interface LiteLlmOptions {
  /** The base URL of the proxy, to which `/key/generate` is appended. */
  readonly url: string
  /** The master key, or a key that may make and delete keys. */
  readonly masterKey: Redacted.Redacted<string>
  /** The base URL that agents get. Default: `url` with `/v1`. */
  readonly endpoint?: string | undefined
  /** Which API is spoken there. Default `openai`. */
  readonly profile?: string | undefined
  /**
   * Every model that the proxy serves. With it every pattern of a lease is expanded to exact names. Without it only exact names,
   * `prefix/**` and {@link accessGroups} can be mapped, and any other pattern refuses the job; and an exact name that is
   * the name of an access group at the proxy would allow the whole group, so give it where clients are not trusted.
   */
  readonly models?: ReadonlyArray<string> | undefined
  /** Patterns of `model.use` that an access group of the proxy stands for, such as `{ "tier-fast/*": "tier-fast" }`. */
  readonly accessGroups?: Readonly<Record<string, string>> | undefined
  /** Whether a lease without `model.use` gets a key for every model. Default false: it gets no key (§9.7). */
  readonly anyModel?: boolean | undefined
  /** Begins the alias of every key. Default `arcp`. */
  readonly aliasPrefix?: string | undefined
  /** Further fields of `/key/generate`, such as `team_id` or `tpm_limit`. What the lease decides is not overridden. */
  readonly extra?: Readonly<Record<string, unknown>> | undefined
  /** How long one request may take. Default 8 seconds. */
  readonly requestTimeout?: Duration.DurationInput | undefined
}

/** An answer is read to this many bytes. */
const maxAnswer = 262_144

const Generated = Schema.Struct({
  key: Schema.NonEmptyString,
  expires: Schema.optional(Schema.NullOr(Schema.String)),
  models: Schema.optional(Schema.NullOr(Schema.Array(Schema.String))),
  max_budget: Schema.optional(Schema.NullOr(Schema.Number))
})
type Generated = typeof Generated.Type
const decodeGenerated = Schema.decodeUnknownEither(Schema.parseJson(Generated))

/** LiteLLM's own errors have an object: a `404` without one is the route's, not the key's. */
const OwnError = Schema.parseJson(
  Schema.Union(
    Schema.Struct({ error: Schema.Struct({ message: Schema.String }) }),
    Schema.Struct({ detail: Schema.Struct({ error: Schema.String }) })
  )
)
const decodeOwnError = Schema.decodeUnknownOption(OwnError)

interface Answer {
  readonly status: number
  readonly body: string
}

/** No answer: the request may have been carried out or not. */
class NoAnswer extends Schema.TaggedError<NoAnswer>()("NoAnswer", { message: Schema.String }) {}

const read = (response: HttpClientResponse.HttpClientResponse): Effect.Effect<string, NoAnswer> =>
  Effect.suspend(() => {
    const decoder = new TextDecoder()
    let size = 0
    let text = ""
    return response.stream.pipe(
      Stream.mapError(() => new NoAnswer({ message: "its answer broke off" })),
      Stream.runForEach((bytes) => {
        size += bytes.length
        if (size > maxAnswer) return new NoAnswer({ message: `its answer is larger than ${maxAnswer} bytes` })
        text += decoder.decode(bytes, { stream: true })
        return Effect.void
      }),
      Effect.map(() => text + decoder.decode())
    )
  })

/** The largest number that is not more than the value: a JSON number is the nearest one, which may be above it. */
const atMost = (value: (typeof Amount)["zero"]): number => {
  const nearest = Amount.toNumber(value)
  const exact = Amount.fromNumber(nearest)
  return Either.isRight(exact) && Amount.exceeds(exact.right, value) ? nearest * (1 - Number.EPSILON) : nearest
}

const exactly = (n: number) => Either.getOrElse(Amount.fromNumber(n), () => Amount.zero)

/** Statuses at which the proxy has made nothing. */
const refusals = new Set([400, 401, 403, 404, 405, 413, 415, 422])

/** What is asked of the proxy for one job. */
interface Asked {
  /** The models, where the lease names any. */
  readonly mapped: { readonly allowed: ReadonlyArray<string>; readonly enforced: ReadonlyArray<string> } | undefined
  /** USD. */
  readonly budget: number | undefined
  /** How long the key lives, and the milliseconds since the epoch from which that counts. */
  readonly seconds: number | undefined
  readonly now: number
}

/** The lease in the proxy's terms; undefined where the job gets no key. Fails where the proxy could only hold it by allowing more. */
const askedOf = (
  { expiresAt, models: patterns, remaining }: ProvisionRequest,
  options: LiteLlmOptions,
  now: number
): Either.Either<Asked | undefined, ProvisionError> =>
  Either.gen(function* () {
    if (patterns === undefined && options.anyModel !== true) return undefined
    const mapped =
      patterns === undefined
        ? undefined
        : yield* Either.mapLeft(
            toLiteLlm(patterns, { known: options.models, accessGroups: options.accessGroups ?? {} }),
            (pattern) =>
              new ProvisionError({
                message:
                  "LiteLLM cannot hold a pattern of model.use without allowing more: give `models` or `accessGroups`",
                explanation: `the gateway cannot enforce the model.use pattern ${JSON.stringify(pattern.slice(0, 80))}`,
                retryable: false
              })
          )
    // an empty list would mean every model
    if (mapped !== undefined && mapped.allowed.length === 0) return undefined
    const usd = remaining.get("USD")
    // rounded down, less a second for the way: the key must not outlive the lease
    const seconds = expiresAt === undefined ? undefined : Math.floor((expiresAt - now) / 1000) - 1
    if (seconds !== undefined && seconds < 1) {
      return yield* Either.left(
        new ProvisionError({
          message: "the lease ends within two seconds: no key is made for it",
          explanation: "the lease ends too soon",
          retryable: false
        })
      )
    }
    return { mapped, budget: usd === undefined ? undefined : atMost(usd), seconds, now }
  })

/** The key of an answer. */
const generatedOf = ({ body, status }: Answer): Effect.Effect<Generated, ProvisionError> => {
  if (status !== 200 && status !== 201) {
    // an alias that is there already was made by a proxy in between that repeated the request
    const repeated = status === 400 && /already exists/i.test(body)
    return new ProvisionError({
      message: `LiteLLM answered ${status} to /key/generate`,
      uncertain: repeated || !refusals.has(status),
      retryable: !refusals.has(status)
    })
  }
  return Effect.mapError(
    decodeGenerated(body),
    () => new ProvisionError({ message: "LiteLLM's answer to /key/generate is not understood", uncertain: true })
  )
}

/** In what a key is wider than was asked for, if in anything. */
const widerThan = (
  { budget, mapped, seconds }: Asked,
  { expires, max_budget, models }: Generated
): string | undefined => {
  if (budget !== undefined && max_budget !== undefined && (max_budget === null || max_budget > budget)) {
    return "a larger budget"
  }
  if (mapped !== undefined && models !== undefined && models !== null) {
    const given = new Set(mapped.allowed)
    if (models.length === 0 || !models.every((model) => given.has(model))) return "more models"
  }
  return seconds !== undefined && expires === null ? "a longer life" : undefined
}

/** What of the lease the proxy says that it enforces. */
const constraintsOf = (
  { budget, mapped, now, seconds }: Asked,
  { expires, max_budget, models }: Generated
): NonNullable<Issued["constraints"]> => ({
  ...(budget === undefined || max_budget === undefined || max_budget === null
    ? {}
    : { "cost.budget": [Amount.print({ currency: "USD", value: exactly(Math.max(0, max_budget)) })] }),
  ...(mapped === undefined || models === undefined || models === null ? {} : { "model.use": mapped.enforced }),
  ...(seconds === undefined || expires === undefined ? {} : { expires_at: formatTimestamp(now + seconds * 1000) })
})

/**
 * Makes the provisioner.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: LiteLlmOptions
): Effect.Effect<Context.Tag.Service<CredentialProvisioner>, never, HttpClient.HttpClient> =>
  Effect.map(HttpClient.HttpClient, (client) => {
    checkOptions("LiteLlm", options, { requestTimeout: "duration" })
    const base = options.url.replace(/\/+$/, "")
    const endpoint = options.endpoint ?? `${base}/v1`
    const timeout = Duration.toMillis(options.requestTimeout ?? "8 seconds")
    const aliasOf = (reference: string) => `${options.aliasPrefix ?? "arcp"}-${reference}`

    const post = (path: string, body: unknown): Effect.Effect<Answer, NoAnswer> =>
      HttpClientRequest.post(`${base}${path}`).pipe(
        HttpClientRequest.bearerToken(options.masterKey),
        HttpClientRequest.acceptJson,
        HttpClientRequest.bodyUnsafeJson(body),
        client.execute,
        Effect.mapError(() => new NoAnswer({ message: "it cannot be reached" })),
        Effect.flatMap((response) => Effect.map(read(response), (text) => ({ status: response.status, body: text }))),
        Effect.timeoutFail({
          duration: timeout,
          onTimeout: () => new NoAnswer({ message: `no answer within ${timeout} ms` })
        }),
        Effect.scoped
      )

    const issue = (request: ProvisionRequest): Effect.Effect<ReadonlyArray<Issued>, ProvisionError> =>
      Effect.gen(function* () {
        const asked = yield* askedOf(request, options, yield* Clock.currentTimeMillis)
        if (asked === undefined) return []
        const answer = yield* post("/key/generate", {
          ...options.extra,
          key_alias: aliasOf(request.reference),
          models: asked.mapped?.allowed ?? [],
          ...(asked.budget === undefined ? {} : { max_budget: asked.budget }),
          ...(asked.seconds === undefined ? {} : { duration: `${asked.seconds}s` }),
          metadata: {
            job_id: request.jobId,
            agent: request.agent,
            ...(request.parentJobId === undefined ? {} : { parent_job_id: request.parentJobId })
          }
        }).pipe(
          Effect.mapError(({ message }) => new ProvisionError({ message: `LiteLLM: ${message}`, uncertain: true }))
        )
        const generated = yield* generatedOf(answer)
        const wider = widerThan(asked, generated)
        if (wider !== undefined) {
          return yield* new ProvisionError({
            message: `LiteLLM made a key with ${wider} than was asked for`,
            uncertain: true,
            retryable: false
          })
        }
        return [
          {
            handle: aliasOf(request.reference),
            value: Redacted.make(generated.key),
            endpoint,
            profile: options.profile ?? "openai",
            constraints: constraintsOf(asked, generated)
          }
        ]
      })

    const remove = (alias: string): Effect.Effect<void, RevokeError> =>
      Effect.flatMap(
        Effect.mapError(
          post("/key/delete", { key_aliases: [alias] }),
          ({ message }) => new RevokeError({ message: `LiteLLM: ${message}`, permanent: false })
        ),
        ({ body, status }): Effect.Effect<void, RevokeError> => {
          if (status >= 200 && status < 300) return Effect.void
          // the key is gone; another kind of 404 comes from something in front of the proxy
          if (status === 404 && Option.isSome(decodeOwnError(body))) return Effect.void
          return new RevokeError({
            message: `LiteLLM answered ${status} to /key/delete`,
            permanent: [400, 401, 403, 405, 422].includes(status)
          })
        }
      ).pipe(
        Effect.retry({
          while: (error) => !error.permanent,
          schedule: Schedule.intersect(Schedule.exponential("100 millis"), Schedule.recurs(2))
        })
      )

    return {
      issue,
      revoke: remove,
      reclaim: (reference) => remove(aliasOf(reference))
    }
  })

/**
 * Credentials from a LiteLLM proxy.
 *
 * @example
 * ```ts
 * import { FetchHttpClient } from "@effect/platform"
 * import { Layer, Redacted } from "effect"
 * import { LiteLlm } from "effect-arcp/runtime"
 *
 * const ProvisionerLive = LiteLlm.layer({
 *   url: "https://litellm.example",
 *   masterKey: Redacted.make("sk-master"),
 *   models: ["tier-fast/a", "tier-fast/b"]
 * }).pipe(Layer.provide(FetchHttpClient.layer))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: LiteLlmOptions): Layer.Layer<CredentialProvisioner, never, HttpClient.HttpClient> =>
  Layer.effect(CredentialProvisioner, make(options))
