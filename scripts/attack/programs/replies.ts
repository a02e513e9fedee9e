/** A runtime for the attacks on replies: an agent that echoes, with leases as asked for, and small limits of jobs. */
import { Agent, Job } from "effect-arcp/agent"
import { Limits } from "effect-arcp/runtime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { serve } from "./common.js"

serve({
  agents: Layer.mergeAll(
    Agent.untyped("echo", (input) => Effect.succeed(input)),
    Agent.untyped("waits", () => Effect.zipRight(Job.log("waiting"), Effect.never))
  ),
  settings: Limits.layer({ cancelGrace: 200 }),
  ...(process.argv[2] === "proxied" ? { server: { trustedProxies: ["127.0.0.1"] } } : {})
})
