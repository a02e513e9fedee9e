/** Payloads of the artifact messages: beyond the specification, negotiated as the feature `artifacts`. */
import * as Schema from "effect/Schema"
import { Id, optional, PositiveInt, Seq, ShortText } from "./Fields.js"

const Sha256 = Schema.String.pipe(Schema.pattern(/^[0-9a-f]{64}$/, { description: "64 lower-case hex digits" }))

/** `artifact.put`: `data` is base64, `retain_seconds` is how long the artifact should be kept. */
export const Put = Schema.Struct({
  content_type: ShortText,
  data: Schema.String,
  sha256: optional(Sha256),
  retain_seconds: optional(PositiveInt)
})
export type Put = typeof Put.Type

/** `artifact.ref`: the answer to a put. */
export const Ref = Schema.Struct({
  request_id: optional(Id),
  artifact_id: Id,
  uri: Schema.String,
  content_type: Schema.String,
  byte_size: Seq,
  sha256: Schema.String,
  expires_at: optional(Schema.String)
})
export type Ref = typeof Ref.Type

/** `artifact.fetch`. */
export const Fetch = Schema.Struct({ artifact_id: Id })
export type Fetch = typeof Fetch.Type

/** `artifact.data`: the answer to a fetch; `data` is base64. */
export const Data = Schema.Struct({
  request_id: optional(Id),
  artifact_id: Id,
  content_type: Schema.String,
  data: Schema.String,
  sha256: Schema.String
})
export type Data = typeof Data.Type

/** `artifact.release`. */
export const Release = Schema.Struct({ artifact_id: Id })
export type Release = typeof Release.Type

/** `artifact.released`: the answer to a release. */
export const Released = Schema.Struct({ request_id: optional(Id), artifact_id: Id })
export type Released = typeof Released.Type
