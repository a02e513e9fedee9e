/**
 * The end of a credential while its session is connected (ARCP 1.1 §6.1): the client is told and its connection is closed. The session
 * stays for its window, and its jobs go on: the client comes back with another credential.
 */
import type * as Context from "effect/Context"
import type { Principal } from "../../../auth/Principal.js"
import { toWire, Unauthenticated } from "../../../protocol/Errors.js"
import type { IdsService } from "../../../protocol/Ids.js"
import * as Message from "../../../protocol/Message.js"
import { closeCodes } from "../../../transport/Connection.js"
import type { Deadline, Deadlines } from "../../kernel/Deadlines.js"
import type { Attached } from "../Presence.js"

/** Waits for it, then calls `over`; cancel it when the connection ends. Undefined where the credential does not run out. */
export const watchCredential = (
  { scheduleWall, wall }: Context.Tag.Service<Deadlines>,
  { link, session }: Attached,
  { expiresAt }: Principal,
  ids: IdsService,
  over: () => void
): Deadline | undefined =>
  expiresAt === undefined
    ? undefined
    : scheduleWall(expiresAt, () => {
        const error = new Unauthenticated({
          message: "auth: the credential has expired; resume the session with another",
          retryable: true,
          details: { reason: "credential_expired" }
        })
        link.post(
          Message.runtime("session.error", { id: ids.unsafeUlid(wall()), session_id: session.sessionId }, toWire(error))
        )
        link.end(closeCodes.policy, error.code)
        over()
      })
