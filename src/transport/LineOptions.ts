/** Options of a connection over lines of bytes. */

/**
 * The bounds of a connection over lines of bytes.
 *
 * @since 0.1.0
 * @category options
 */
export interface LineOptions {
  /** The longest line that is read, in bytes; a longer one ends the connection with 1009. Default: 4 MiB. */
  readonly maxFrameBytes?: number | undefined
  /** How many bytes may wait in the pipe's buffer before `send` suspends. Default: 256 KiB. */
  readonly highWaterBytes?: number | undefined
  /** How many bytes may wait unread before the peer is held back. Default: 1 MiB. */
  readonly inboundBytes?: number | undefined
}
