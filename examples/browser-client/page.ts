/** The page's program: a client over the browser's own WebSocket. It connects to the server that the page is from, with the token in its address. */
import { ArcpClient } from "effect-arcp/client"
import { WebSocketGlobal } from "effect-arcp/transport"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import { Double } from "./agent.js"

const { searchParams } = new URL(location.href)
const url = new URL("/arcp", location.href).href.replace(/^http/, "ws")

const ClientLive = ArcpClient.layer({ auth: { token: Redacted.make(searchParams.get("token") ?? "") } }).pipe(
  Layer.provide(WebSocketGlobal.layer({ url }))
)

const job = Effect.gen(function* () {
  const arcp = yield* ArcpClient
  const job = yield* arcp.submit(Double, { numbers: [1, 2, 3] })
  const events: Array<number> = []
  yield* Stream.runForEach(job.events, (event) =>
    Effect.sync(() => void (event._tag === "progress" && events.push(event.body.current)))
  )
  return { events, result: yield* job.result, by: navigator.userAgent }
})

/** What came of it goes to the server that the page is from. */
const tell = (outcome: object) =>
  // The browser's own: the HttpClient of @effect/platform would come into the script.
  // @effect-diagnostics-next-line globalFetchInEffect:off
  Effect.promise(() => fetch(new URL("/outcome", location.href), { method: "POST", body: JSON.stringify(outcome) }))

Effect.runFork(
  job.pipe(
    Effect.provide(ClientLive),
    Effect.matchEffect({ onFailure: ({ message }) => tell({ failed: message }), onSuccess: tell })
  )
)
