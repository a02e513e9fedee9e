/** Runtimes over stores that break on command. */
import { Effect, Layer } from "effect"
import type { MemoryStore } from "../../src/store/index.js"
import { FaultyStore } from "../../src/testing/index.js"
import { world, type WorldOptions } from "./world.js"

type Stores = Layer.Layer.Success<typeof MemoryStore.layer>

/** The faults come out beside the runtime, which is built over the same, faulty store. */
export const faulty = (store: () => Layer.Layer<Stores, unknown>, options: WorldOptions = {}) =>
  Layer.unwrapScoped(
    Effect.gen(function* () {
      const context = yield* Layer.build(FaultyStore.layer.pipe(Layer.provide(Layer.orDie(store()))))
      const beneath = Layer.succeedContext(context)
      return Layer.merge(world({ ...options, store: beneath }), beneath)
    })
  )
