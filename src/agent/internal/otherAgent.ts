/** Another agent as a handler calls it: its name, its input, and its child's end in its types (ARCP 1.1 §10). */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as AgentName from "../../protocol/AgentName.js"
import { type AgentSpec, decodeError } from "../../protocol/AgentSpec.js"
import { type ArcpError, InvalidRequest, permanentError } from "../../protocol/Errors.js"
import * as Decoding from "../../protocol/Decoding.js"

/** An agent by its definition, or by its name. */
export type AnyAgent<In, InWire, Out, OutWire, Err, ErrWire> =
  | string
  | AgentSpec<In, InWire, Out, OutWire, Err, ErrWire, unknown>

/** The name under which it is asked for. */
export const nameOf = (agent: string | { readonly agentName: string; readonly version: string | undefined }): string =>
  typeof agent === "string" ? agent : AgentName.format({ name: agent.agentName, version: agent.version })

/** Input as its agent's Schema encodes it; as it is, where the agent is known by name only. */
export const encode = <In, InWire, Out, OutWire, Err, ErrWire>(
  agent: AnyAgent<In, InWire, Out, OutWire, Err, ErrWire>,
  input: unknown
): Effect.Effect<unknown, InvalidRequest> =>
  typeof agent === "string"
    ? Effect.succeed(input)
    : Effect.mapError(
        Schema.encodeUnknown(agent.input)(input),
        (error) => new InvalidRequest({ message: Decoding.describe(error, "input") })
      )

/** A child's end in the types of its agent. */
export const decoded = <In, InWire, Out, OutWire, Err, ErrWire>(
  { error, output }: AgentSpec<In, InWire, Out, OutWire, Err, ErrWire, unknown>,
  child: { readonly agent: string; readonly result: Effect.Effect<unknown, ArcpError> }
): Effect.Effect<Out, Err | ArcpError> =>
  child.result.pipe(
    Effect.mapError((failure) => decodeError(error, failure)),
    Effect.flatMap((result) =>
      Effect.mapError(Schema.decodeUnknown(output)(result), (problem) =>
        permanentError(Decoding.describe(problem, `the result of ${child.agent}`))
      )
    )
  )
