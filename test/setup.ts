/** Lets `expect(a).toEqual(b)` compare Effect's values (Option, Exit, Chunk, Schema classes) by `Equal`. */
import { addEqualityTesters } from "@effect/vitest"

addEqualityTesters()
