/** A runtime on a SQLite file, which `main.ts` starts twice and kills once: `runtime.ts FILE`. It prints where it listens. */
import { appendFileSync } from "node:fs"
import { NodeRuntime } from "@effect/platform-node"
import { Job } from "effect-arcp/agent"
import { Authenticator } from "effect-arcp/auth"
import { ArcpRuntime } from "effect-arcp/runtime"
import { SqliteStore } from "effect-arcp/store/sqlite"
import { Server } from "effect-arcp/transport"
import { WebSocketServer } from "effect-arcp/transport/node"
import { Console, Effect, Layer, Schema } from "effect"
import { Pipeline, steps } from "./pipeline.js"

const { pid } = process

/** The work of a step: it takes a while, and leaves a trace on disk when it begins and when it is done. */
const work = (journal: string, step: string) =>
  Effect.gen(function* () {
    yield* Effect.sync(() => appendFileSync(journal, `${step} begun by ${pid}\n`))
    yield* Effect.sleep("400 millis")
    yield* Effect.sync(() => appendFileSync(journal, `${step} done by ${pid}\n`))
    return pid
  })

const PipelineLive = Pipeline.toLayer(
  ({ journal }) =>
    Effect.forEach(steps, (step, i) =>
      Effect.gen(function* () {
        // What the step returned is recorded; a handler that is started again gets it from there.
        const by = yield* Job.step(step, Schema.Number, work(journal, step))
        yield* Job.progress({ current: i + 1, total: steps.length, units: "steps", message: step })
        return { step, pid: by }
      })
    ),
  { onRestart: "rerun" }
)

const Main = Layer.effectDiscard(Effect.flatMap(Server, ({ address }) => Console.log(address))).pipe(
  Layer.provideMerge(ArcpRuntime.layer({ name: "durable-steps" })),
  Layer.provide(PipelineLive),
  Layer.provide(WebSocketServer.layer({ port: 0 })),
  Layer.provide(Authenticator.layerBearer({ "example-token": "you" })),
  Layer.provide(SqliteStore.layer({ filename: process.argv[2] ?? ":memory:" }))
)

NodeRuntime.runMain(Layer.launch(Main))
