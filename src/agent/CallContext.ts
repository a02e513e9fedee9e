/**
 * The context in which one job's handler runs, put together of what its agent has once and of what the call has.
 *
 * Responsibility: what an agent was built with is sifted once for all its jobs; the guarded services, the `Job`, the scope and the span
 * of a call stand in for entries of a `Map` and are made on first use, so that a handler pays only for those that it uses.
 *
 * Order: a service of a call is made once. Whoever goes through the whole context (Effect does to add to it) gets stand-ins for guarded
 * services, which make them at their first use.
 *
 * To Effect it is a `Context` like any other: it asks its map `get` and `has`, copies it to add to it, and goes through it to compare.
 */
import * as Context from "effect/Context"
import * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"
import type { Gate } from "./Gate.js"
import { jobKey } from "./internal/jobKey.js"
import type { JobService } from "./Job.js"

/** What a call has. */
export interface Call {
  readonly job: JobService
  readonly gate: Gate
  readonly scope: Scope.Scope
  readonly span: Tracer.AnySpan | undefined
}

/** A service that each job gets in a form bounded by its own gate. */
export class Guarded {
  readonly make: (gate: Gate) => object

  constructor(make: (gate: Gate) => object) {
    this.make = make
  }
}

/** What all jobs of an agent have; guarded services are not made yet. */
export type Shared = ReadonlyMap<string, unknown>

const scopeKey = Scope.Scope.key
const spanKey = Tracer.ParentSpan.key

/** Stands for a guarded service until it is used. */
class StandIn implements ProxyHandler<object> {
  private readonly guarded: Guarded
  private readonly call: Call
  private made: object | undefined = undefined

  constructor(guarded: Guarded, call: Call) {
    this.guarded = guarded
    this.call = call
  }

  private service(): object {
    return (this.made ??= this.guarded.make(this.call.gate))
  }

  get(_: object, key: PropertyKey): unknown {
    return Reflect.get(this.service(), key)
  }

  set(): boolean {
    return false
  }

  has(_: object, key: PropertyKey): boolean {
    return Reflect.has(this.service(), key)
  }

  ownKeys(): Array<string | symbol> {
    return Reflect.ownKeys(this.service())
  }

  getOwnPropertyDescriptor(_: object, key: PropertyKey): PropertyDescriptor | undefined {
    const found = Reflect.getOwnPropertyDescriptor(this.service(), key)
    // A proxy may not say of a property that its own target does not have, that it is fixed.
    return found === undefined ? undefined : { ...found, configurable: true }
  }

  getPrototypeOf(): object | null {
    return Reflect.getPrototypeOf(this.service())
  }
}

/** The services of one call, read as a map is. */
class CallServices {
  private readonly shared: Shared
  private readonly call: Call
  /** Created with the first stand-in: most calls have none. */
  private standIns: Map<string, object> | undefined = undefined
  private whole: Map<string, unknown> | undefined = undefined

  constructor(shared: Shared, call: Call) {
    this.shared = shared
    this.call = call
  }

  get(key: string): unknown {
    if (key === spanKey) return this.call.span ?? this.shared.get(key)
    if (key === jobKey) return this.call.job
    if (key === scopeKey) return this.call.scope
    const found = this.shared.get(key)
    return found instanceof Guarded ? this.standIn(key, found) : found
  }

  private standIn(key: string, guarded: Guarded): object {
    const standIns = (this.standIns ??= new Map<string, object>())
    let service = standIns.get(key)
    if (service === undefined) {
      service = new Proxy({}, new StandIn(guarded, this.call))
      standIns.set(key, service)
    }
    return service
  }

  has(key: string): boolean {
    return (
      key === jobKey || key === scopeKey || (key === spanKey && this.call.span !== undefined) || this.shared.has(key)
    )
  }

  /** The whole map, for callers that copy or iterate it. */
  private all(): Map<string, unknown> {
    if (this.whole !== undefined) return this.whole
    const whole = new Map(this.shared)
    for (const [key, value] of this.shared) if (value instanceof Guarded) whole.set(key, this.standIn(key, value))
    const { job, scope, span } = this.call
    whole.set(jobKey, job)
    whole.set(scopeKey, scope)
    if (span !== undefined) whole.set(spanKey, span)
    this.whole = whole
    return whole
  }

  get size(): number {
    return this.all().size
  }

  [Symbol.iterator](): IterableIterator<[string, unknown]> {
    return this.all()[Symbol.iterator]()
  }

  entries(): IterableIterator<[string, unknown]> {
    return this.all().entries()
  }

  keys(): IterableIterator<string> {
    return this.all().keys()
  }

  values(): IterableIterator<unknown> {
    return this.all().values()
  }

  forEach(run: (value: unknown, key: string, map: Map<string, unknown>) => void): void {
    this.all().forEach(run)
  }
}

/** The context of a call. */
export const contextOf = (shared: Shared, call: Call): Context.Context<never> =>
  Context.unsafeMake(new CallServices(shared, call) as unknown as Map<string, never>)

/** Whether a context has all that a call has: nothing of the fiber that runs the call is to be added. */
export const isWhole = (context: Context.Context<never>): boolean =>
  context.unsafeMap instanceof (CallServices as never)
