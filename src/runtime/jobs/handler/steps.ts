/**
 * Durable steps: results that are journaled with their job, so that a job that is started again does not do them again.
 *
 * Order: a step's events are in the log no later than its result; the result is durable when the step returns.
 *
 * Races closed here: two fibers that run one step at once run it once, the second takes the first one's result; a step that
 * is interrupted while its result is being written has been recorded or not, never half.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as FiberId from "effect/FiberId"
import * as FiberRef from "effect/FiberRef"
import { globalValue } from "effect/GlobalValue"
import * as Option from "effect/Option"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import type { JobService } from "../../../agent/Job.js"
import { InternalError, InvalidRequest, permanentError } from "../../../protocol/Errors.js"
import * as Decoding from "../../../protocol/Decoding.js"
import * as Text from "../../../protocol/Text.js"
import type { DecodedStep } from "../../../store/Rows.js"
import type { StepRecord } from "../../../store/Store.js"
import type { Engine } from "../internal/engine.js"
import type { Running } from "../Running.js"
import { fingerprint } from "./fingerprint.js"

/** The steps that the fiber is in, outermost first. */
const within = globalValue(Symbol.for("effect-arcp/runtime/steps"), () =>
  FiberRef.unsafeMake<ReadonlyArray<string>>([])
)

const maxName = 256

/** Why a result has no JSON. */
class NotJson {
  readonly why: string
  constructor(why: string) {
    this.why = why
  }
}

/** JSON has no word for `undefined`, which is what a step without a result returns. */
const toText = (encoded: unknown): string => {
  if (encoded === undefined) return ""
  const json = Text.toJson(encoded)
  if (json._tag === "Json") return json.text
  // edge: caught where steps are encoded, with what the schema throws
  throw new NotJson(json._tag === "Absent" ? "JSON has no functions and symbols" : json.why)
}
const fromText = (text: string): unknown => (text === "" ? undefined : JSON.parse(text))

const invalid = (message: string) => new InvalidRequest({ message })

const changed = (name: string, what: string): InternalError =>
  permanentError(`step ${JSON.stringify(name)}: ${what}; a step whose result has changed needs another name`, {
    reason: "step_changed",
    step: name
  })

/** The steps of one running job. */
export const make = (running: Running, engine: Engine): JobService["step"] => {
  const { live } = running
  const { eventLog, limits, meter, store } = engine
  const { reached, reaching } = meter
  const inProgress = new Map<string, Deferred.Deferred<void>>()
  /** Those that this attempt has recorded or read. */
  const recorded = new Set<string>()

  /** A first attempt has no records but its own. */
  const find = (name: string): Effect.Effect<Option.Option<DecodedStep>, InternalError> =>
    recorded.has(name) || live.attempt > 1
      ? Effect.mapError(
          store.step(live.jobId, name),
          () => new InternalError({ message: `step ${JSON.stringify(name)}: the store could not be read; try again` })
        )
      : Effect.succeed(Option.none())

  const write = (record: StepRecord): Effect.Effect<void> =>
    Effect.async<void>((resume) => {
      // Nothing belongs to a job that has ended.
      if (live.ending) return resume(Effect.interrupt)
      // Without `failed`: it is written again until the store takes it.
      eventLog.change({ write: (batch) => batch.step(record), committed: () => resume(Effect.void) })
    })

  return <A, I, E, R>(name: string, schema: Schema.Schema<A, I>, effect: Effect.Effect<A, E, R>) => {
    const shown = JSON.stringify(name.slice(0, maxName))

    const recall = (record: DecodedStep, print: string): Either.Either<A, InternalError> => {
      if (record.fingerprint !== print) {
        return Either.left(changed(name, "its recorded result was written with another schema"))
      }
      return Either.mapLeft(Schema.decodeUnknownEither(schema)(record.result), (error) =>
        changed(name, `its recorded result does not fit the schema: ${Decoding.describe(error, "result")}`)
      )
    }

    /** As text, and as it will be read back: what is returned now is what a rerun gets. */
    const encode = (value: A): Either.Either<{ readonly text: string; readonly value: A }, InvalidRequest> =>
      Either.try({
        try: () => {
          const text = toText(Schema.encodeSync(schema)(value))
          return { text, value: Schema.decodeUnknownSync(schema)(fromText(text)) }
        },
        catch: (error) =>
          invalid(
            `step ${shown}: ${
              Text.isInstance(error, ParseResult.ParseError)
                ? `the result does not fit the schema, or is another once it has been JSON: ${Decoding.describe(error, "result")}`
                : Text.isInstance(error, NotJson)
                  ? `the result is not JSON: ${error.why}`
                  : "the result cannot be encoded: its schema throws"
            }`
          )
      }).pipe(
        Either.filterOrLeft(
          ({ text }) => text.length <= limits.stepResult,
          ({ text }) =>
            reaching(
              "stepResult",
              invalid(
                `step ${shown}: the result is ${text.length} characters long, at most ${limits.stepResult} are recorded; keep it as an artifact`
              )
            )
        )
      )

    const first = (print: string): Effect.Effect<A, E | InvalidRequest | InternalError, R> =>
      Effect.gen(function* () {
        const found = yield* find(name)
        if (Option.isSome(found)) {
          recorded.add(name)
          return yield* recall(found.value, print)
        }
        if (recorded.size + inProgress.size > limits.steps) {
          reached("steps")
          return yield* invalid(`step ${shown}: a job has at most ${limits.steps} steps`)
        }
        const result = yield* Effect.locallyWith(effect, within, (names) => [...names, name])
        const encoded = yield* encode(result)
        yield* write({ jobId: live.jobId, name, fingerprint: print, value: encoded.text })
        recorded.add(name)
        return encoded.value
      })

    const turn = (print: string): Effect.Effect<A, E | InvalidRequest | InternalError, R> =>
      Effect.suspend(() => {
        if (live.ending) return Effect.interrupt
        const other = inProgress.get(name)
        if (other !== undefined) return Effect.zipRight(Deferred.await(other), turn(print))
        const done = Deferred.unsafeMake<void>(FiberId.none)
        inProgress.set(name, done)
        return Effect.ensuring(
          first(print),
          Effect.sync(() => {
            inProgress.delete(name)
            Deferred.unsafeDone(done, Effect.void)
          })
        )
      })

    return Effect.flatMap(FiberRef.get(within), (names): Effect.Effect<A, E | InvalidRequest | InternalError, R> => {
      if (name.length === 0 || name.length > maxName) {
        return Effect.fail(invalid(`step: a name has 1 to ${maxName} characters`))
      }
      // It would wait for itself.
      if (names.includes(name)) return Effect.fail(invalid(`step ${shown}: is inside itself`))
      return turn(fingerprint(schema))
    }).pipe(
      Effect.withSpan("arcp.step", {
        attributes: { "arcp.step": name, "arcp.job_id": live.jobId },
        captureStackTrace: false
      })
    )
  }
}
