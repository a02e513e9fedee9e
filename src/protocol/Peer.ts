/** Who speaks (ARCP 1.1 §6.2). `Session` exports it. */
import * as Schema from "effect/Schema"
import { optional, ShortText } from "./Fields.js"

/**
 * Name and version of a peer's program.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Peer = Schema.Struct({ name: optional(ShortText), version: optional(ShortText) })

/**
 * Name and version of a peer's program.
 *
 * @since 0.1.0
 * @category models
 */
export type Peer = typeof Peer.Type
