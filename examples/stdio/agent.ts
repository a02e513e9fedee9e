/** The child of `main.ts`: a runtime whose one client is at the other end of its stdin and stdout. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Job } from "effect-arcp/agent"
import { Authenticator } from "effect-arcp/auth"
import { ArcpRuntime } from "effect-arcp/runtime"
import { MemoryStore } from "effect-arcp/store"
import { StdioTransport } from "effect-arcp/transport/stdio"
import { Effect, Layer } from "effect"
import { Words, wsIsLoaded } from "./words.js"

const WordsLive = Words.toLayer(({ text }) =>
  Effect.gen(function* () {
    const words = text.split(" ")
    for (const [i, word] of words.entries()) {
      // What a careless dependency does: on stdout it would stand in the middle of the frames.
      // @effect-diagnostics-next-line globalConsoleInEffect:off
      console.log(`careless: ${word}`)
      yield* Job.progress({ current: i + 1, total: words.length, units: "words" })
    }
    return { count: words.length, pid: process.pid, wsIsLoaded: wsIsLoaded() }
  })
)

const Main = ArcpRuntime.layer({ name: "child" }).pipe(
  Layer.provide(WordsLive),
  Layer.provide(Authenticator.layerBearerConfig()), // the variable ARCP_TOKENS, which the parent sets
  Layer.provide(MemoryStore.layer)
)

// Its one client is at the other end; when it has gone, this process ends too.
NodeRuntime.runMain(StdioTransport.launch(Main))
