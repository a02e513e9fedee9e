/** Runtimes over stores that break on command. */
import { Effect, Layer } from "effect"
import type { MemoryStore } from "../../src/store/index.js"
import type { StoreFaults } from "../../src/testing/FaultyStore.js"
import { FaultyStore } from "../../src/testing/index.js"
import { world, type WorldOptions, worldWithConcerns } from "./world.js"

type Stores = Layer.Layer.Success<typeof MemoryStore.layer>

const over = <A, E>(
  store: () => Layer.Layer<Stores, unknown>,
  build: (beneath: Layer.Layer<Stores | StoreFaults>) => Layer.Layer<A, E>
) =>
  Layer.unwrapScoped(
    Effect.gen(function* () {
      const context = yield* Layer.build(FaultyStore.layer.pipe(Layer.provide(Layer.orDie(store()))))
      const beneath = Layer.succeedContext(context)
      return Layer.merge(build(beneath), beneath)
    })
  )

/** The faults come out beside the runtime, which is built over the same, faulty store. */
export const faulty = (store: () => Layer.Layer<Stores, unknown>, options: WorldOptions = {}) =>
  over(store, (beneath) => world({ ...options, store: beneath }))

/** As {@link faulty}, with the runtime's concerns in hand. */
export const faultyWithConcerns = (store: () => Layer.Layer<Stores, unknown>, options: WorldOptions = {}) =>
  over(store, (beneath) => worldWithConcerns({ ...options, store: beneath }))
