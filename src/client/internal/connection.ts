/**
 * One connection of a client, from its hello to what its end means.
 *
 * Responsibility: dials, runs the connection's fibers, and returns the outcome: come back, or end. The reactions that
 * frames cause run here; the rules of one session are in `core`, those of successive sessions in `succession`.
 *
 * Order: the token is asked for before the dial, since it may take longer than the runtime waits for a hello. The hello is
 * written before any fiber runs. An outcome that a frame has settled takes precedence over the way in which the connection ended.
 *
 * Races: the client is closed while it dials or reads: the interruption goes through, and the loop ends with it.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import { oneLine } from "../../protocol/Errors.js"
import { closeCodes, type CloseInfo } from "../../transport/Connection.js"
import { broken, failed } from "./attempt.js"
import * as Fibers from "./fibers.js"
import { Link } from "./link.js"
import type { Reaction } from "./reaction.js"
import { reader } from "./reading.js"
import type { Shared } from "./shared.js"
import * as Silence from "./silence.js"
import type { Outcome } from "./succession.js"
import * as Workers from "./workers.js"

/** Milliseconds after its welcome from which on an open connection counts as progress, even without a frame. */
const steady = 10_000

/** The hello, at most `requestTimeout` later. A defect in the token's Effect ends the client. */
const helloOf = ({ lifetime, options, succession }: Shared, link: Link) =>
  Effect.tapErrorCause(
    Effect.timeoutFail(succession.hello, {
      duration: options.requestTimeout,
      onTimeout: () => ({ message: `no token within ${options.requestTimeout} ms` })
    }),
    (cause) =>
      Effect.suspend(() => {
        // Such as a defect in the token's Effect, which would repeat with the next hello.
        if (lifetime.isClosing || Cause.isFailure(cause)) return Effect.void
        link.settle(broken(cause))
        return Fibers.report("the client could not authenticate", cause)
      })
  )

/** Dials, says hello, and runs the fibers of the connection; returns how it ended. */
const run = (shared: Shared, link: Link, react: (reaction: Reaction) => void) =>
  Effect.gen(function* () {
    const { connector, core, lag, notices, options, succession, toSend } = shared
    core.connects()
    const frame = yield* helloOf(shared, link)
    const connection = yield* Effect.timeoutFail(connector.connect, {
      duration: options.connectTimeout,
      onTimeout: () => ({ message: `no connection within ${options.connectTimeout} ms` })
    })
    link.attempt.opens()
    yield* connection.send([frame])
    const now = options.times.mono()
    link.opened(now)
    core.connected(now)
    return yield* Fibers.run(connection, reader(shared, connection, link, react), {
      writer: Workers.writer(shared, connection, link),
      heartbeat: Workers.heartbeats(shared, connection, link),
      acknowledgements: Workers.acknowledgements(shared),
      handshake: Workers.handshake(shared, connection, link),
      timeouts: Workers.timeouts(shared, connection, link),
      silence: Silence.watch(core, connection, {
        isPaused: () => lag.isPaused,
        onGap: (expected) => succession.gap(expected),
        flush: toSend.signal,
        publish: notices.publish
      })
    })
  })

/** One connection. Its outcome is settled by a frame, else by how the connection ends. */
export const connectOnce = (shared: Shared): Effect.Effect<Outcome> =>
  Effect.suspend(() => {
    const { core, ends, inFlight, lifetime, notices, options, pace, succession } = shared
    const link = new Link()
    const { attempt } = link
    const progressBefore = core.progress
    inFlight.begin()

    /** Carries out what a frame asks for. */
    const react = (reaction: Reaction): void => {
      switch (reaction._tag) {
        case "none":
          return
        case "welcomed":
          attempt.welcomedAt = options.times.mono()
          link.welcome.signal()
          return succession.welcomed(reaction.previous)
        case "remarked": {
          const { code, message } = reaction.error
          const { isClosing } = lifetime
          attempt.remark = oneLine(`${code}: ${message}`)
          // Some runtimes do not know `session.close`, and say so.
          if (isClosing) return react({ _tag: "closed" })
          return notices.warn(`the runtime reports ${attempt.remark}`)
        }
        case "refused":
          return link.settle(succession.refused(reaction.error, core.welcomed))
        case "gap": {
          const { expected, got } = reaction
          succession.gap(expected)
          const reason = `event ${got} came where ${expected} was expected`
          return link.settle({ _tag: "again", code: closeCodes.policy, reason })
        }
        case "closed": {
          if (!lifetime.isClosing) {
            return link.settle({ _tag: "again", code: closeCodes.normal, reason: "the runtime closed the session" })
          }
          lifetime.closed()
          return link.settle({ _tag: "end", error: undefined })
        }
      }
    }

    /** The outcome of the connection; settles what happens to its requests. */
    const judged = ({ code, reason }: CloseInfo): Outcome => {
      const progressed =
        core.progress > progressBefore ||
        (attempt.welcomedAt !== undefined && options.times.mono() - attempt.welcomedAt >= steady)
      if (progressed) {
        pace.progressed()
        ends.progressed()
      }
      const blamed = inFlight.ended(code, progressed)
      return link.outcome ?? ends.judge(attempt, code, attempt.because(reason), blamed, succession.everWelcomed)
    }

    return Effect.scoped(run(shared, link, react)).pipe(
      Effect.matchCauseEffect({
        onSuccess: (info) => Effect.sync(() => judged(info)),
        onFailure: (cause) => {
          if (lifetime.isClosing && Cause.isInterrupted(cause)) return Effect.failCause(cause as Cause.Cause<never>)
          const end = failed(cause)
          return Effect.sync(() => link.outcome ?? (end._tag === "end" ? end : judged(end)))
        }
      }),
      Effect.ensuring(Effect.sync(() => core.disconnected()))
    )
  })
