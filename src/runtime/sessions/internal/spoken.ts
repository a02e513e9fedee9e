/** The version that frames name (ARCP 1.1 §5): `1.1`, but `1` to a client whose first message said so, as 1.0 has it. */
import type { RawEnvelope } from "../../../protocol/Envelope.js"
import { version } from "../../../protocol/Envelope.js"
import type { Connection, Frame } from "../../../transport/Connection.js"

const older = "1"
// Every frame of the runtime begins so: `Message.runtime` and the heads of events put the version first.
const ours = `{"arcp":"${version}"`
const theirs = `{"arcp":"${older}"`

const inOlder = (frame: Frame): Frame =>
  typeof frame !== "string"
    ? { ...frame, arcp: older }
    : frame.startsWith(ours)
      ? theirs + frame.slice(ours.length)
      : frame

/** The connection as a client that sent this first message is spoken to. */
export const spokenTo = (connection: Connection, { arcp }: RawEnvelope): Connection => {
  if (arcp !== older) return connection
  const { admit, closed, inbound, remoteAddress, secure, transport } = connection
  return {
    transport,
    secure,
    remoteAddress,
    inbound,
    send: (frames) => connection.send(frames.map(inOlder)),
    close: (code, reason) => connection.close(code, reason),
    closed,
    ...(admit === undefined ? {} : { admit })
  }
}
