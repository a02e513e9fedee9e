/** Agents as registrations in the context; `AgentRegistry` collects them. */
import type * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Hosted from "./hosted.js"

/** The prefix of the keys of agents. */
export const agents = "effect-arcp/agent/Hosted/"

/** Puts an agent into the context. Each layer made by this function is one registration, however often it is provided. */
export const hosting = <A, E, R>(
  name: string,
  version: string,
  registration: Effect.Effect<A, E, R>
): Layer.Layer<never, E, R> => Hosted.layer(`${agents}${name}@${version}`, registration)
