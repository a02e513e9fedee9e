/**
 * What a runtime owes for a frame, decided from the frame's text alone, and the account of what it owes and has paid: every request has one
 * answer, and every answer a request.
 */
import { ExtensionName, Message } from "effect-arcp/protocol"
import type { Frame } from "./legal.js"

/** What a frame asks for. */
export interface Asked {
  /** The id that the answer names; undefined: the frame has none that could be read. */
  readonly id: string | undefined
  /** Whether an answer must come, or only may. */
  readonly must: boolean
  /** The nonce of a ping, whose answer names that. */
  readonly nonce?: string
  /** Whether the connection may end for it. */
  readonly ends?: boolean
}

/** Levels of nesting that a runtime reads. */
const maxDepth = 64

const isDeep = (text: string): boolean => {
  let depth = 0
  let quoted = false
  for (let i = 0; i < text.length; i++) {
    const c = text[i]
    if (quoted) {
      if (c === "\\") i++
      else if (c === '"') quoted = false
    } else if (c === '"') quoted = true
    else if (c === "{" || c === "[") {
      if (++depth > maxDepth) return true
    } else if (c === "}" || c === "]") depth--
  }
  return false
}

const unread: Asked = { id: undefined, must: true }

/** What a text asks for on a connection that has a session. */
export const askedBy = (text: string): Asked => {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return unread
  }
  if (isDeep(text)) return unread
  if (typeof value !== "object" || value === null || Array.isArray(value)) return unread
  const { id, payload, type } = value as Record<string, unknown>
  if (typeof id !== "string" || id.length < 1 || id.length > 256) return unread
  if (typeof type !== "string") return { id, must: true }
  if (type === "session.close" || type === "session.bye") return { id, must: type === "session.close", ends: true }
  // Says nothing where it is as it should be.
  if (type === "session.pong" || type === "session.ack") return { id, must: false }
  if (!Message.isClientType(type)) return { id, must: !ExtensionName.isExtension(type) }
  const nonce = (payload as { readonly nonce?: unknown } | null | undefined)?.nonce
  return type === "session.ping" && typeof nonce === "string" ? { id, must: true, nonce } : { id, must: true }
}

interface Count {
  must: number
  may: number
}

/** Codes that say why a connection ends: its session is another's now, or what it is owed is gone. */
const ofConnection = new Set(["PERMISSION_DENIED", "RESUME_WINDOW_EXPIRED"])

/** The account of one connection. */
export class Account {
  private readonly named = new Map<string, Count>()
  private readonly nonces = new Map<string, Array<string>>()
  private unnamed = 0
  private open = 0

  /** A frame has been sent. */
  ask(asked: Asked): void {
    if (asked.must) this.open++
    if (asked.id === undefined) {
      this.unnamed++
      return
    }
    const count = this.named.get(asked.id) ?? { must: 0, may: 0 }
    if (asked.must) count.must++
    else count.may++
    this.named.set(asked.id, count)
    if (asked.nonce === undefined) return
    const ids = this.nonces.get(asked.nonce)
    if (ids === undefined) this.nonces.set(asked.nonce, [asked.id])
    else ids.push(asked.id)
  }

  private settle(id: string): boolean {
    const count = this.named.get(id)
    if (count === undefined || count.must + count.may === 0) return false
    if (count.must > 0) {
      count.must--
      this.open--
    } else count.may--
    return true
  }

  /** A frame has come. Returns what is wrong with it as an answer; undefined: it is one that was asked for, or none. */
  paid(frame: Frame): "unasked" | "end" | undefined {
    const { payload, type } = frame
    if (type === "session.pong") {
      const ids = this.nonces.get(String(payload["ping_nonce"])) ?? []
      // Another ping of that nonce may have been refused.
      while (ids.length > 0) if (this.settle(ids.shift()!)) return undefined
      return "unasked"
    }
    const id = payload["request_id"]
    if (typeof id === "string") return this.settle(id) ? undefined : "unasked"
    if (type !== "session.error") return undefined
    // What it says of the connection is no answer to a frame that could not be read.
    if (this.unnamed === 0 || ofConnection.has(String(payload["code"]))) return "end"
    this.unnamed--
    this.open--
    return undefined
  }

  /** How many answers are owed. */
  get owed(): number {
    return this.open
  }

  /** The ids that answers are owed to, for a report. */
  get debts(): ReadonlyArray<string> {
    const ids = [...this.named].filter(([, { must }]) => must > 0).map(([id]) => id)
    return this.unnamed > 0 ? [...ids, `${this.unnamed} unreadable`] : ids
  }
}
