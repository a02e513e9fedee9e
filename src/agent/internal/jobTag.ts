/**
 * The tag of the `Job` service without the calls of `Job`: the definition of an agent needs no more, and is in the program of every
 * client that submits by it.
 */
import * as Context from "effect/Context"
import type { Job, JobService } from "../Job.js"
import { jobKey } from "./jobKey.js"

/** Finds what `Job` finds. */
export const JobTag: Context.Tag<Job, JobService> = Context.GenericTag<Job, JobService>(jobKey)
