/**
 * How much a WebSocket's peer may make us hold before it has been authenticated.
 *
 * `ws` takes its limit when a WebSocket opens and has no public way to change it; its receiver reads the field for each
 * frame, so the field is changed. Should another version of `ws` not have it, and for what it does not count (control frames,
 * many small parts), a fence over the socket's bytes holds too: a message must be complete before much more than the limit has arrived.
 */
import type { Socket } from "node:net"
import type { WebSocket } from "ws"

/** Node reads a socket in pieces of at most this size; the last one may hold the end of a message and the next one's start. */
const readBytes = 65_536

interface Receiver {
  _maxPayload?: unknown
}

/** The limit of one WebSocket. */
export class WsLimit {
  private readonly ws: WebSocket
  private readonly maximum: number
  private readonly exceeded: () => void
  private fence: { readonly socket: Socket; readonly onData: (bytes: Buffer) => void; pending: number } | undefined
  /** The largest message that is read now, in bytes. */
  bytes: number

  /** `exceeded`: the fence was reached. */
  constructor(ws: WebSocket, maximum: number, exceeded: () => void) {
    this.ws = ws
    this.maximum = maximum
    this.bytes = maximum
    this.exceeded = exceeded
  }

  /** Whether less than the transport's own limit holds. */
  get isLowered(): boolean {
    return this.fence !== undefined
  }

  /** Lowers the limit, from the next frame on. */
  lower(bytes: number, socket: Socket): void {
    this.set(Math.min(bytes, this.maximum))
    this.unfence()
    const fence = {
      socket,
      pending: 0,
      onData: (data: Buffer): void => {
        fence.pending += data.length
        if (fence.pending <= this.bytes + readBytes) return
        this.unfence()
        this.exceeded()
      }
    }
    this.fence = fence
    // behind the listener of `ws`, which emits the messages that these bytes complete
    socket.on("data", fence.onData)
  }

  /** Back to the transport's own limit. */
  lift(): void {
    this.unfence()
    this.set(this.maximum)
  }

  /** A message is complete. False: it is larger than what is read now. */
  received(size: number): boolean {
    if (this.fence !== undefined) this.fence.pending = 0
    return size <= this.bytes
  }

  private set(bytes: number): void {
    this.bytes = bytes
    const receiver = (this.ws as unknown as { readonly _receiver?: Receiver | null })._receiver
    if (typeof receiver?._maxPayload === "number") receiver._maxPayload = bytes
  }

  private unfence(): void {
    this.fence?.socket.off("data", this.fence.onData)
    this.fence = undefined
  }
}
