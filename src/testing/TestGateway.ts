/**
 * A gateway in memory that mints keys and enforces what they were issued with: a budget in exact decimals, the models, the
 * expiry by `Clock`. With the provisioner that a runtime uses, so that the whole of ARCP 1.1 §9.8 can be tested in one process.
 *
 * Nothing goes wrong by itself; a test asks for each fault. Refusals have the status and body of LiteLLM's. Not covered: a
 * network, spending that is counted late, more than one node.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Amount from "../authority/Amount.js"
import * as Glob from "../authority/Glob.js"
import { formatTimestamp } from "../protocol/Fields.js"
import { Ids } from "../protocol/Ids.js"
import {
  CredentialProvisioner,
  type Issued,
  ProvisionError,
  type ProvisionRequest,
  RevokeError
} from "../runtime/index.js"

/**
 * What the gateway answers to a call that it refuses: like an HTTP client's error.
 *
 * @since 0.1.0
 * @category errors
 */
export class GatewayError extends Schema.TaggedError<GatewayError>()("GatewayError", {
  /** The HTTP status. */
  status: Schema.Number,
  /** The body, as LiteLLM's. */
  body: Schema.Struct({
    error: Schema.Struct({ message: Schema.String, type: Schema.String, param: Schema.String, code: Schema.String })
  })
}) {
  /** One line with the status and the error's type. */
  override get message(): string {
    return `the gateway answered ${this.status}: ${this.body.error.type}`
  }
}

/**
 * What is known of a key.
 *
 * @since 0.1.0
 * @category models
 */
export interface GatewayKey {
  /** What revokes it. */
  readonly handle: string
  /** The job that it was issued for. */
  readonly jobId: string
  /** Whether it is valid. */
  readonly live: boolean
  /** How often it went from valid to revoked: once at most. */
  readonly revocations: number
  /** Requests to revoke it, also when it was revoked already. */
  readonly revokeRequests: number
  /** What is left of its budget. */
  readonly remaining: Amount.Amounts
}

/**
 * How the gateway behaves.
 *
 * @since 0.1.0
 * @category options
 */
export interface TestGatewayOptions {
  /** Default `https://gateway.test/v1`. */
  readonly endpoint?: string | undefined
  /** Keys for each issue. Default 1. */
  readonly keysPerJob?: number | undefined
  /**
   * `none` (the default): rotation issues anew. `new`: `rotate` makes another key. `in place`: `rotate` gives the same handle
   * another value, and the prior value is dead at once.
   */
  readonly rotation?: "none" | "new" | "in place" | undefined
  /** Whether keys whose answer was lost can be found by their reference. Default true. */
  readonly reclaim?: boolean | undefined
}

/**
 * Controls the gateway, and is what an agent calls.
 *
 * @since 0.1.0
 * @category services
 */
export interface TestGatewayService {
  /** Uses a key. The cost is counted exactly; a key is refused once its counter is at zero or below. */
  readonly call: (
    key: string | Redacted.Redacted<string>,
    request: { readonly model: string; readonly cost?: string | undefined }
  ) => Effect.Effect<void, GatewayError>
  /** Every issue and revocation takes this long from now on. */
  readonly slow: (duration: Duration.DurationInput) => Effect.Effect<void>
  /** The next `n` issues fail, with nothing made. */
  readonly failIssues: (n: number) => Effect.Effect<void>
  /** The next `n` issues make their keys and lose the answer. */
  readonly loseAnswers: (n: number) => Effect.Effect<void>
  /** The next `n` revocations fail, to be tried again. */
  readonly failRevokes: (n: number) => Effect.Effect<void>
  /** Revocations are refused for good, until this is switched off. */
  readonly refuseRevokes: (refuse: boolean) => Effect.Effect<void>
  /** Issues do not answer while this is on; those under way go on when it is switched off. */
  readonly hangIssues: (hang: boolean) => Effect.Effect<void>
  /** Revocations do not answer while this is on; those under way stay without an answer. */
  readonly hangRevokes: (hang: boolean) => Effect.Effect<void>
  /** Every key that was ever made, in the order of making. */
  readonly keys: Effect.Effect<ReadonlyArray<GatewayKey>>
  /** The keys that are valid, in the order of making. */
  readonly liveKeys: Effect.Effect<ReadonlyArray<GatewayKey>>
  /** Keys made and keys revoked. */
  readonly counts: Effect.Effect<{ readonly issued: number; readonly revoked: number }>
}

interface Key {
  readonly handle: string
  readonly reference: string
  readonly request: ProvisionRequest
  readonly models: Glob.GlobSet | undefined
  readonly remaining: Map<string, (typeof Amount)["zero"]>
  value: string
  live: boolean
  revocations: number
  revokeRequests: number
}

const refuse = (status: number, type: string, message: string, param: string) =>
  new GatewayError({ status, body: { error: { message, type, param, code: String(status) } } })

const make = (options: TestGatewayOptions, ids: Context.Tag.Service<Ids>) => {
  const endpoint = options.endpoint ?? "https://gateway.test/v1"
  const keys: Array<Key> = []
  const byValue = new Map<string, Key>()
  const byHandle = new Map<string, Key>()
  const resumes = new Set<() => void>()
  let delay = 0
  let failingIssues = 0
  let losing = 0
  let failingRevokes = 0
  let refusing = false
  let hangingIssues = false
  let hangingRevokes = false

  const passIssueGate = Effect.suspend(() =>
    hangingIssues
      ? Effect.async<void>((resume) => {
          if (!hangingIssues) return resume(Effect.void)
          const go = () => resume(Effect.void)
          resumes.add(go)
          return Effect.sync(() => void resumes.delete(go))
        })
      : Effect.void
  )
  const wait = Effect.suspend(() => (delay > 0 ? Effect.sleep(delay) : Effect.void))

  const newValue = () => `sk-test-${ids.unsafeSecret()}`

  const mint = (request: ProvisionRequest): Key => {
    const models = request.models === undefined ? undefined : Glob.compileAll("name", request.models)
    const key: Key = {
      handle: `vk_${keys.length + 1}`,
      reference: request.reference,
      request,
      models: models === undefined ? undefined : Either.getOrElse(models, () => Glob.union("name", [])),
      remaining: new Map(request.remaining),
      value: newValue(),
      live: true,
      revocations: 0,
      revokeRequests: 0
    }
    keys.push(key)
    byValue.set(key.value, key)
    byHandle.set(key.handle, key)
    return key
  }

  const issued = (key: Key): Issued => ({
    handle: key.handle,
    value: Redacted.make(key.value),
    endpoint,
    profile: "openai",
    constraints: {
      ...(key.remaining.size === 0 ? {} : { "cost.budget": Amount.toPatterns(key.remaining) }),
      ...(key.request.models === undefined ? {} : { "model.use": key.request.models }),
      ...(key.request.expiresAt === undefined ? {} : { expires_at: formatTimestamp(key.request.expiresAt) })
    }
  })

  const kill = (key: Key): void => {
    if (key.live) key.revocations++
    key.live = false
  }

  /** The faults of an issue, then what it does. */
  const making = <A>(work: () => A): Effect.Effect<A, ProvisionError> =>
    Effect.suspend(() => {
      if (failingIssues > 0) {
        failingIssues--
        return Effect.zipRight(wait, new ProvisionError({ message: "the test gateway fails as it was told to" }))
      }
      return passIssueGate.pipe(
        Effect.zipRight(wait),
        Effect.zipRight(Effect.sync(work)),
        Effect.filterOrFail(
          () => losing === 0 || losing-- === 0,
          () => new ProvisionError({ message: "the test gateway lost its answer as it was told to", uncertain: true })
        )
      )
    })

  const revoking = (work: () => void): Effect.Effect<void, RevokeError> =>
    Effect.suspend((): Effect.Effect<void, RevokeError> => {
      if (hangingRevokes) return Effect.never
      if (refusing) return new RevokeError({ message: "the test gateway refuses as it was told to", permanent: true })
      if (failingRevokes > 0) {
        failingRevokes--
        return new RevokeError({ message: "the test gateway fails as it was told to", permanent: false })
      }
      return Effect.zipRight(wait, Effect.sync(work))
    })

  const remove = (key: Key | undefined): void => {
    if (key === undefined) return
    key.revokeRequests++
    kill(key)
  }

  const rotate = (handle: string, request: ProvisionRequest): Effect.Effect<Issued, ProvisionError> =>
    Effect.flatten(
      making((): Effect.Effect<Issued, ProvisionError> => {
        const key = byHandle.get(handle)
        if (key === undefined || !key.live) {
          return new ProvisionError({ message: "the test gateway has no such key", retryable: false })
        }
        if (options.rotation !== "in place") return Effect.succeed(issued(mint(request)))
        byValue.delete(key.value)
        key.value = newValue()
        byValue.set(key.value, key)
        return Effect.succeed(issued(key))
      })
    )

  const provisioner: Context.Tag.Service<CredentialProvisioner> = {
    issue: (request) => making(() => Array.from({ length: options.keysPerJob ?? 1 }, () => issued(mint(request)))),
    revoke: (handle) => revoking(() => remove(byHandle.get(handle))),
    ...(options.rotation === undefined || options.rotation === "none" ? {} : { rotate }),
    ...(options.reclaim === false
      ? {}
      : {
          reclaim: (reference) =>
            revoking(() => {
              for (const key of keys) {
                if (key.reference === reference) remove(key)
              }
            })
        })
  }

  const call: TestGatewayService["call"] = (secret, { cost, model }) =>
    Effect.flatMap(Clock.currentTimeMillis, (now): Effect.Effect<void, GatewayError> => {
      const key = byValue.get(Redacted.isRedacted(secret) ? Redacted.value(secret) : secret)
      if (key === undefined || !key.live) {
        return refuse(401, "token_not_found_in_db", "Authentication Error, Invalid proxy server token passed.", "key")
      }
      const { expiresAt } = key.request
      if (expiresAt !== undefined && now >= expiresAt) {
        return refuse(401, "expired_key", "Authentication Error - Expired Key.", "key")
      }
      if (key.models !== undefined && !Glob.matches(key.models, model)) {
        return refuse(403, "key_model_access_denied", "key not allowed to access model.", "model")
      }
      if (Amount.firstExhausted(key.remaining) !== undefined) {
        return refuse(400, "budget_exceeded", "Budget has been exceeded!", "None")
      }
      if (cost === undefined) return Effect.void
      return Either.match(Amount.parseSpend(cost), {
        onLeft: () => refuse(400, "bad_request_error", "the cost is no amount", "cost"),
        onRight: ({ currency, value }) =>
          Effect.sync(() => {
            const left = key.remaining.get(currency)
            if (left !== undefined) key.remaining.set(currency, Amount.subtract(left, value))
          })
      })
    })

  const shown = (key: Key): GatewayKey => ({
    handle: key.handle,
    jobId: key.request.jobId,
    live: key.live,
    revocations: key.revocations,
    revokeRequests: key.revokeRequests,
    remaining: new Map(key.remaining)
  })

  const gateway: TestGatewayService = {
    call,
    slow: (duration) =>
      Effect.sync(() => {
        delay = Duration.toMillis(duration)
      }),
    failIssues: (n) =>
      Effect.sync(() => {
        failingIssues = n
      }),
    loseAnswers: (n) =>
      Effect.sync(() => {
        losing = n
      }),
    failRevokes: (n) =>
      Effect.sync(() => {
        failingRevokes = n
      }),
    refuseRevokes: (refused) =>
      Effect.sync(() => {
        refusing = refused
      }),
    hangIssues: (hang) =>
      Effect.sync(() => {
        hangingIssues = hang
        if (hang) return
        for (const go of resumes) go()
        resumes.clear()
      }),
    hangRevokes: (hang) =>
      Effect.sync(() => {
        hangingRevokes = hang
      }),
    keys: Effect.sync(() => keys.map(shown)),
    liveKeys: Effect.sync(() => keys.filter((key) => key.live).map(shown)),
    counts: Effect.sync(() => ({ issued: keys.length, revoked: keys.filter((key) => key.revocations > 0).length }))
  }
  return { gateway, provisioner }
}

/**
 * A gateway for tests, and what mints its keys.
 *
 * @example
 * ```ts
 * import { Effect, Layer } from "effect"
 * import { Ids } from "effect-arcp/protocol"
 * import { TestGateway } from "effect-arcp/testing"
 *
 * const GatewayLive = TestGateway.layer({ keysPerJob: 1 }).pipe(Layer.provide(Ids.layerSeeded(1)))
 *
 * const spend = (key: string) =>
 *   Effect.gen(function* () {
 *     const gateway = yield* TestGateway
 *     yield* gateway.failRevokes(2)
 *     yield* gateway.call(key, { model: "tier-fast/a", cost: "0.83 USD" })
 *   })
 * ```
 *
 * @since 0.1.0
 * @category services
 */
export class TestGateway extends Context.Tag("effect-arcp/testing/TestGateway")<TestGateway, TestGatewayService>() {
  /** A new gateway without keys; its values come from `Ids`, so that a seed makes them the same in every run. */
  static readonly layer = (
    options: TestGatewayOptions = {}
  ): Layer.Layer<TestGateway | CredentialProvisioner, never, Ids> =>
    Layer.effectContext(
      Effect.map(Ids, (ids) => {
        const { gateway, provisioner } = make(options, ids)
        return Context.make(TestGateway, gateway).pipe(Context.add(CredentialProvisioner, provisioner))
      })
    )
}
