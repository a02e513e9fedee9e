/**
 * What both sides share of an agent: its name, version, and the Schemas of its input, output, errors and events (ARCP 1.1 §7.5, §8.2,
 * 1.0 §12).
 *
 * Responsibility: the shape of that contract, and how an error of the declared type travels: encoded, in `details.encoded` of a
 * `job.error`. The encoding of events is that of their bodies.
 */
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import { AgentFailure, type ArcpError, VendorError } from "./Errors.js"
import type { JobEvent, VendorEvent } from "./Event.js"
import * as Text from "./Text.js"

/**
 * Schemas of the bodies of vendor events, by kind (`x-vendor.<vendor>.<name>`).
 *
 * @since 0.1.0
 * @category types
 */
export interface EventSchemas {
  readonly [kind: `x-vendor.${string}`]: Schema.Schema.AnyNoContext
}

/**
 * An agent as a client and a runtime both know it. `Agent.make` in `effect-arcp/agent` makes classes of this shape; a
 * client needs no more than this to submit with typed input and to decode results, errors and events.
 *
 * @since 0.1.0
 * @category models
 */
export interface AgentSpec<
  in out In,
  in out InWire,
  in out Out,
  in out OutWire,
  in out Err = never,
  in out ErrWire = never,
  out Events = {}
> {
  /** `[a-z0-9][a-z0-9._-]*`, at most 128 characters (§7.5). */
  readonly agentName: string
  /** Absent where the runtime's default version is meant. */
  readonly version: string | undefined
  /** The Schema of the input: a client encodes by it, a runtime decodes. */
  readonly input: Schema.Schema<In, InWire>
  /** The Schema of the result: a runtime encodes by it, a client decodes. */
  readonly output: Schema.Schema<Out, OutWire>
  /** What its handler may fail with, beyond the protocol's errors; absent where it declares nothing. */
  readonly error?: Schema.Schema<Err, ErrWire> | undefined
  /** The bodies of its vendor events, by kind. */
  readonly events?: Events | undefined
}

/**
 * The Schemas by which a client decodes a job that it did not submit: those of the agent's class, or given one by one.
 *
 * @since 0.1.0
 * @category types
 */
export type AgentTypes<Out, OutWire, Err = never, ErrWire = never, Events = {}> = Pick<
  AgentSpec<never, never, Out, OutWire, Err, ErrWire, Events>,
  "output" | "error" | "events"
>

/**
 * What a job of an agent emits, as its client sees it: the events of {@link JobEvent}, and the agent's own, decoded.
 *
 * @since 0.1.0
 * @category types
 */
export type AgentEvent<Events> = JobEvent | VendorEvent<Events>

/**
 * The field of an error's details that holds an agent's error as its Schema encoded it.
 *
 * @since 0.1.0
 * @category constants
 */
export const encodedField = "encoded"

/**
 * Decodes the agent's own error from a job's error. Returns the job's error where it is not the agent's, where there is no Schema, and
 * where it does not fit the Schema or the Schema throws: then `details.encoded` still has the received value.
 *
 * @since 0.1.0
 * @category decoding
 */
export const decodeError = <Err, ErrWire>(
  schema: Schema.Schema<Err, ErrWire> | undefined,
  error: ArcpError
): Err | ArcpError => {
  if (schema === undefined || !(error instanceof VendorError || error instanceof AgentFailure)) return error
  const { details } = error
  if (details === undefined || !Object.hasOwn(details, encodedField)) return error
  return Text.attempt(
    () => Either.getOrElse(Schema.decodeUnknownEither(schema)(details[encodedField]), () => error),
    error
  )
}
