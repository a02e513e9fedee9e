/** Events of the kinds that an agent declares: the check of their names, and the encoding of their bodies (ARCP 1.1 §8.1, 1.0 §8.2). */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { EventSchemas } from "../../protocol/AgentSpec.js"
import { InvalidRequest, oneLine } from "../../protocol/Errors.js"
import * as ExtensionName from "../../protocol/ExtensionName.js"
import * as Decoding from "../../protocol/Decoding.js"
import * as Text from "../../protocol/Text.js"
import type { Job } from "../Job.js"
import { called, logDefect } from "./called.js"
import { JobTag } from "./jobTag.js"

/** Throws a `TypeError` that names the first kind that no vendor may use. */
export const checkKinds = (agent: string, events: object | undefined): void => {
  for (const kind of Object.keys(events ?? {})) {
    if (ExtensionName.isVendorKind(kind)) continue
    // edge: an agent that is defined with a wrong name is a mistake of its program, not a failure of the running one
    throw new TypeError(
      oneLine(
        `the agent ${agent}: ${JSON.stringify(kind.slice(0, 64))} cannot be an event kind: it must be x-vendor.<vendor>.<name>, and not of x-vendor.effect-arcp`
      )
    )
  }
}

const invalid = (message: string) => Effect.fail(new InvalidRequest({ message: oneLine(message) }))

/** The Schema is user code: if it throws, this call fails, and only operators see what was thrown. */
const encode = (
  schema: Schema.Schema.AnyNoContext,
  kind: string,
  body: unknown
): Effect.Effect<unknown, InvalidRequest> => {
  const message = `${kind}: the body cannot be encoded: its schema throws`
  return Effect.suspend(() => called(() => Schema.encodeUnknown(schema)(body))).pipe(
    Effect.mapError((error) => new InvalidRequest({ message: Decoding.describe(error, `${kind}: body`) })),
    Effect.catchAllDefect((defect) => Effect.zipRight(logDefect(message, defect), invalid(message)))
  )
}

/** Emits an event of a declared kind from the running job. */
export const emitting =
  (events: EventSchemas | undefined) =>
  (kind: string, body: unknown): Effect.Effect<void, InvalidRequest, Job> =>
    Effect.suspend((): Effect.Effect<void, InvalidRequest, Job> => {
      const schema =
        events !== undefined && Object.hasOwn(events, kind) ? events[kind as keyof EventSchemas] : undefined
      if (schema === undefined) return invalid(`kind: the agent declares no event ${String(kind).slice(0, 64)}`)
      return Effect.flatMap(encode(schema, kind, body), (encoded) =>
        typeof encoded === "object" && encoded !== null && !Text.attempt(() => Array.isArray(encoded), false)
          ? Effect.flatMap(JobTag, (job) => job.event(kind, encoded))
          : invalid(`${kind}: the body must be encoded to an object (§8.1)`)
      )
    })
