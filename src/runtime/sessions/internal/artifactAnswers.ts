/**
 * The artifact messages, from payload to payload: base64 in, base64 out.
 *
 * The length of the base64 is bounded before it is decoded, and only its one canonical spelling (RFC 4648 §4, with padding)
 * is taken, so that a digest of the text and of the bytes mean the same.
 */
import { Buffer } from "node:buffer"
import * as Effect from "effect/Effect"
import * as Artifact from "../../../protocol/Artifact.js"
import { type ArcpError, InvalidRequest } from "../../../protocol/Errors.js"
import type { ClientMessage } from "../../../protocol/Message.js"
import type { ArtifactsService } from "../../artifacts/Artifacts.js"
import { tooLarge } from "../../artifacts/Refusals.js"
import type { LimitsShape } from "../../kernel/Limits.js"
import type { MeterShape } from "../../kernel/Metrics.js"

/** An artifact message from a client. */
export type ArtifactMessage = Extract<
  ClientMessage,
  { readonly type: "artifact.put" | "artifact.fetch" | "artifact.release" }
>

/** A reply: its type and its payload without `request_id`. */
export type ArtifactReply =
  | readonly [type: "artifact.ref", payload: Artifact.Ref]
  | readonly [type: "artifact.data", payload: Artifact.Data]
  | readonly [type: "artifact.released", payload: Artifact.Released]

/** Answers a principal's artifact messages. */
export const artifactAnswers =
  (artifacts: ArtifactsService, limits: LimitsShape, meter: MeterShape) =>
  (principalId: string, message: ArtifactMessage): Effect.Effect<ArtifactReply, ArcpError> =>
    Effect.suspend((): Effect.Effect<ArtifactReply, ArcpError> => {
      switch (message.type) {
        case "artifact.put": {
          const { content_type: contentType, data: text, retain_seconds: retainSeconds, sha256 } = message.payload
          if (text.length > Artifact.base64Length(limits.artifactBytes))
            return Effect.fail(meter.reaching("artifactBytes", tooLarge(limits)))
          const data = Buffer.from(text, "base64")
          if (data.toString("base64") !== text) {
            return Effect.fail(new InvalidRequest({ message: "payload.data: must be base64 with padding" }))
          }
          return Effect.map(
            artifacts.put(principalId, { contentType, data, sha256, retainSeconds }),
            (ref) => ["artifact.ref", ref] as const
          )
        }
        case "artifact.fetch":
          return Effect.map(
            artifacts.fetch(principalId, message.payload.artifact_id),
            ({ data, record }) =>
              [
                "artifact.data",
                {
                  artifact_id: record.artifactId,
                  content_type: record.contentType,
                  data: Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("base64"),
                  sha256: record.sha256
                }
              ] as const
          )
        case "artifact.release":
          return Effect.as(artifacts.release(principalId, message.payload.artifact_id), [
            "artifact.released",
            { artifact_id: message.payload.artifact_id }
          ] as const)
      }
    })
