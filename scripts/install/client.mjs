/** A client of the runtime whose URL is the argument. */
import { WebSocketClient } from "effect-arcp/transport/ws"
import { echoed } from "./echoed.mjs"

await echoed(WebSocketClient.layer({ url: process.argv[2] }))
