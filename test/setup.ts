/** Lets `expect(a).toEqual(b)` compare Effect's values (Option, Exit, Chunk, Schema classes) by `Equal`. */
import { addEqualityTesters } from "@effect/vitest"
import { FastCheck as fc } from "effect"
import { runs } from "./support/properties.js"

addEqualityTesters()
fc.configureGlobal({ ...fc.readConfigureGlobal(), numRuns: runs(100) })
