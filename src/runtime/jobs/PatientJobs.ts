/**
 * A job scheduler and leases that the program brought, as the runtime asks them.
 *
 * Responsibility: the end of a request is not waited for where its connection has ended, and a lease that is granted has an expiry that can
 * be waited for. The runtime's own are asked without this.
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import type * as Lease from "../../authority/Lease.js"
import * as Foreign from "../kernel/Foreign.js"
import { JobScheduler, type JobSchedulerService } from "./JobScheduler.js"
import { Leases, type LeasesService } from "./Leases.js"

/** The same scheduler, guarded where it is the program's. */
export const patientScheduler = <E, R>(
  layer: Layer.Layer<JobScheduler, E, R>,
  isForeign: boolean
): Layer.Layer<JobScheduler, E, R> => (isForeign ? Layer.provide(guardedScheduler, layer) : layer)

/** The same leases, guarded where they are the program's. */
export const soundLeases = <E, R>(layer: Layer.Layer<Leases, E, R>, isForeign: boolean): Layer.Layer<Leases, E, R> =>
  isForeign ? Layer.provide(guardedLeases, layer) : layer

const guardedScheduler: Layer.Layer<JobScheduler, never, JobScheduler> = Layer.effect(
  JobScheduler,
  Effect.map(
    JobScheduler,
    (own): JobSchedulerService => ({
      submit: (request, reply) => Foreign.asked(() => own.submit(request, reply)),
      cancel: (request, reply) => Foreign.asked(() => own.cancel(request, reply)),
      counts: () => own.counts()
    })
  )
)

/** The lease, where deadlines can be made of it. */
const sound = (lease: Lease.Lease): Lease.Lease => {
  const expiresAt: unknown = lease.expiresAt
  if (expiresAt === undefined || (typeof expiresAt === "number" && !Number.isNaN(expiresAt))) return lease
  // edge: a defect of the program's leases, which ends the job that it is for
  throw new TypeError("a lease's expiresAt is in milliseconds since the epoch, or undefined")
}

const guardedLeases: Layer.Layer<Leases, never, Leases> = Layer.effect(
  Leases,
  Effect.map(
    Leases,
    (own): LeasesService => ({
      admit: (request) => Either.map(own.admit(request), sound),
      recovered: (lease, principalId) => sound(own.recovered(lease, principalId)),
      check: (job, capability, target) => own.check(job, capability, target),
      checkState: (job) => own.checkState(job)
    })
  )
)
