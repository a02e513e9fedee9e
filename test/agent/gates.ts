import { Effect, Either, Exit, Option, Cause } from "effect"
import { expect } from "@effect/vitest"
import { deniedCause } from "../../src/agent/Denied.js"
import { type Gate } from "../../src/agent/index.js"
import { Canonical, Lease } from "../../src/authority/index.js"
import { LeaseExpired, PermissionDenied } from "../../src/protocol/index.js"
import type { WireLease } from "../../src/protocol/Fields.js"

export interface TestGate extends Gate {
  /** Every target that was let through, with its capability. */
  readonly allowed: Array<string>
  /** Every refusal, as the job's observers would be told. */
  readonly denied: Array<string>
  /** From now on everything is refused as expired, what is open too. */
  expired: boolean
  /** Called where an operation on an open handle asks the gate. */
  onLive: () => void
}

/** The patterns of a lease as a gate: what the runtime's gate decides, without a job. */
export const gateOf = (wire: WireLease): TestGate => {
  const lease = Either.getOrThrow(Lease.compile(wire))
  const refuse = (capability: string, message: string) =>
    Effect.suspend(() => {
      gate.denied.push(`${capability} ${message}`)
      return Effect.fail(new PermissionDenied({ message }))
    })
  const gate: TestGate = {
    allowed: [],
    denied: [],
    expired: false,
    onLive: () => undefined,
    authorize: (capability, text) =>
      Effect.suspend(() => {
        if (gate.expired) return Effect.fail(new LeaseExpired({ message: "the lease has expired" }))
        const target = Canonical.target(capability, text)
        if (Either.isLeft(target)) return gate.refuse(capability, target.left)
        const decision = Lease.authorize(lease, capability, target.right)
        if (decision._tag === "Denied") return refuse(capability, Lease.toPermissionDenied(decision).message)
        gate.allowed.push(`${capability} ${target.right}`)
        return Effect.succeed(target.right)
      }),
    namesHost: (url) => Lease.namesHost(lease, url),
    refuse: (capability, problem) => refuse(capability, problem.message),
    live: () => {
      gate.onLive()
      return gate.expired ? new LeaseExpired({ message: "the lease has expired" }) : undefined
    }
  }
  return gate
}

/** The failure of an effect that must fail. */
export const failure = <E>(exit: Exit.Exit<unknown, E>): E => {
  if (Exit.isSuccess(exit)) throw new Error(`it was let through: ${JSON.stringify(exit.value)}`)
  return Option.getOrThrowWith(Cause.failureOption(exit.cause), () => new Error(Cause.pretty(exit.cause)))
}

/** Expects an operation to be refused by the lease, and answers the platform's error. */
export const refused = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<E, never, R> =>
  Effect.map(Effect.exit(effect), (exit) => {
    const error = failure(exit)
    expect(deniedCause(error)?.code, String(error)).toBe("PERMISSION_DENIED")
    return error
  })
