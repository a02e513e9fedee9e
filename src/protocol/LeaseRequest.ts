/** The lease that a program asks for, with the names of its capabilities checked by the compiler. */
import type { CoreCapability } from "./ExtensionName.js"

/**
 * The capabilities that a job asks for (ARCP 1.1 §9.2): a reserved name, or a vendor's, with its patterns; of `cost.budget`, amounts
 * such as `"USD:1.00"`. Another name does not compile. What comes over the wire is a `Fields.WireLease`, whose names are any text: it
 * can be asked for as it is, and the runtime judges its names.
 *
 * @example
 * ```ts
 * import type { LeaseRequest } from "effect-arcp/protocol"
 *
 * const lease: LeaseRequest = {
 *   "fs.read": ["/data/**"],
 *   "cost.budget": ["USD:1.00"],
 *   "x-vendor.acme.thing": ["*"]
 * }
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export type LeaseRequest = {
  readonly [Name in CoreCapability | `x-vendor.${string}`]?: ReadonlyArray<string>
}
