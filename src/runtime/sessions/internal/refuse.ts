/** Refusing a connection that has no session: its error is sent, then the connection is closed (ARCP 1.1 §6). */
import * as Effect from "effect/Effect"
import type { RawEnvelope } from "../../../protocol/Envelope.js"
import { type ArcpError, InternalError } from "../../../protocol/Errors.js"
import { closeCodes, type Connection } from "../../../transport/Connection.js"
import { errorFrame } from "../../kernel/ErrorFrame.js"
import * as FrameSize from "../../kernel/FrameSize.js"
import * as Requests from "./requests.js"
import { spokenTo } from "./spoken.js"

/** Refuses a connection that has no session. Its envelope carries a session id all the same (1.0 §5.1): peers drop it otherwise. */
export const refusing =
  (now: () => number, newUlid: (now: number) => string, maxFrameBytes: number) =>
  (
    connection: Connection,
    state: Requests.State,
    error: ArcpError,
    request: RawEnvelope | undefined,
    requestId = request?.id
  ): Effect.Effect<void> => {
    state.done = true
    const code = error instanceof InternalError ? closeCodes.tryAgainLater : closeCodes.policy
    const at = now()
    const named = request === undefined ? undefined : Requests.namedSession(request)
    const head = { id: newUlid(at), session_id: named ?? `sess_${newUlid(at)}` }
    const spoken = request === undefined ? connection : spokenTo(connection, request)
    return spoken
      .send([FrameSize.smaller(JSON.stringify(errorFrame(head, error, requestId)), maxFrameBytes)])
      .pipe(Effect.ignore, Effect.zipRight(connection.close(code, error.code)))
  }
