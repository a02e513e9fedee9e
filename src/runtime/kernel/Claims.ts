/** What one runtime has for itself: a store or a server that two runtimes shared would mix their sessions. */
import * as Effect from "effect/Effect"
import { globalValue } from "effect/GlobalValue"
import type * as Scope from "effect/Scope"

const claimed = globalValue(Symbol.for("effect-arcp/runtime/claims"), () => new WeakSet<object>())

/** Claims an instance until the scope closes. A second claim is a defect that says so: the program is wrong. */
export const claim = (what: "store" | "server", instance: object): Effect.Effect<void, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.suspend(() => {
      if (claimed.has(instance)) {
        return Effect.dieMessage(
          `this ${what} is in use by another runtime of this program: give each runtime a ${what} of its own`
        )
      }
      claimed.add(instance)
      return Effect.void
    }),
    () => Effect.sync(() => void claimed.delete(instance))
  )

/** The instance behind a service: the same for a store and everything that decorates it. */
export const instanceOf = (service: object): object =>
  "instance" in service && typeof service.instance === "object" && service.instance !== null
    ? service.instance
    : service
