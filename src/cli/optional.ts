/**
 * Parts of the program that are loaded where they are used: so that the rest works without the optional peers that they need, and so that
 * a command starts without what only others do.
 */
import * as Effect from "effect/Effect"
import { type Exit, usage } from "./errors.js"
import { missing, type PeerName } from "./peers.js"

/** Loads a part that needs these peers. Ends the program with 2, and says what to install, where one of them is missing. */
// edge: imports of modules are promises
export const optional = <A>(load: () => Promise<A>, names: ReadonlyArray<PeerName>): Effect.Effect<A, Exit> =>
  Effect.catchAll(Effect.tryPromise({ try: load, catch: (cause) => ({ cause }) }), ({ cause }) => {
    const message = missing(cause, names)
    // A file of this package that cannot be loaded: no input of the user's is wrong.
    return message === undefined ? Effect.die(cause) : usage(message)
  })

/** WebSockets, for `submit`, and for `serve` without `--stdio`. */
export const webSocket = optional(() => import("../transport/ws.js"), ["ws"])

/** The store of `--store`. */
export const sqlite = optional(
  () => import("../store/sqlite.js"),
  ["@effect/sql-sqlite-node", "@effect/sql", "@effect/experimental"]
)
