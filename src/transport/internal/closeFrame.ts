/** What may stand in a close frame (RFC 6455 §5.5.1, §7.4). */
import { closeCodes } from "../Connection.js"

const maxReasonBytes = 123

/** The code as it may be sent: reserved and unknown ones become 1011. */
export const sendableCode = (code: number): number =>
  (code >= 1000 && code <= 1014 && code !== 1004 && code !== 1005 && code !== 1006) || (code >= 3000 && code <= 4999)
    ? code
    : closeCodes.internal

/** The code as it is told: a close frame without a code (1005) is a clean end. */
export const receivedCode = (code: number): number => (code === 1005 ? closeCodes.normal : code)

/** The reason cut to what fits, never inside a character. */
export const sendableReason = (reason: string): string => {
  if (reason.length * 3 <= maxReasonBytes) return reason
  const bytes = new TextEncoder().encode(reason)
  if (bytes.length <= maxReasonBytes) return reason
  let end = maxReasonBytes
  while (end > 0 && (bytes[end]! & 0xc0) === 0x80) end--
  return new TextDecoder().decode(bytes.subarray(0, end))
}
