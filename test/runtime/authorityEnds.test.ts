/** §9.5, §7.3 Authority ends with the job: what outlives it may do nothing any more. */
import { FileSystem, HttpClient } from "@effect/platform"
import { NodeContext, NodeHttpClient } from "@effect/platform-node"
import { describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Layer } from "effect"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { Agent, Job } from "../../src/agent/index.js"
import { server } from "../agent/httpServers.js"
import { backends } from "./backends.js"
import { hello, run, submit } from "./peer.js"
import { world } from "./world.js"
import { scratch } from "../support/scratch.js"

const folder = scratch("arcp-ends-")
const file = join(folder, "file")
writeFileSync(file, "0123456789".repeat(100))

/** What a fiber that goes on can do, tried one after the other. */
const attempts = (url: string) =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const http = yield* HttpClient.HttpClient
    const handle = yield* fs.open(file, { flag: "r+" })
    const tries: ReadonlyArray<readonly [string, Effect.Effect<unknown, unknown, Job>]> = [
      ["read", fs.readFileString(file)],
      ["write", fs.writeFileString(file, "x")],
      ["stat", fs.stat(file)],
      ["list", fs.readDirectory(folder)],
      ["open", Effect.scoped(fs.open(file))],
      ["handle read", handle.read(new Uint8Array(4))],
      ["handle readAlloc", handle.readAlloc(4)],
      ["handle write", handle.write(new Uint8Array(4))],
      ["handle writeAll", handle.writeAll(new Uint8Array(4))],
      ["handle truncate", handle.truncate(1)],
      ["handle stat", handle.stat],
      ["fetch", http.get(url)],
      ["authorize", Job.authorize("fs.read", file)],
      ["model", Job.model("gpt", Effect.succeed("answered"))],
      ["tool", Job.tool("t", 1, Effect.succeed("ran"))],
      ["reserve", Job.reserve("0.1 USD", Effect.succeed("ran"))],
      ["spend", Job.spend("cost.x", "0.1 USD")],
      ["delegate", Job.delegate("echo", 1, { lease: { "cost.budget": ["USD:0.1"] } })],
      ["emit", Job.log("still here")],
      ["artifact", Job.artifact(new Uint8Array(1), { contentType: "text/plain" })]
    ]
    return (named: (name: string, outcome: string) => void) =>
      Effect.forEach(
        tries,
        ([name, effect]) =>
          // A call of its own fiber: some of them interrupt it.
          Effect.map(
            Effect.flatMap(Effect.forkDaemon(effect), (fiber) => fiber.await),
            (exit) => named(name, Exit.isSuccess(exit) ? "done" : Exit.isInterrupted(exit) ? "interrupted" : "refused")
          ),
        { discard: true }
      )
  })

const lease = (origin: string) => ({
  lease_request: {
    "fs.read": [`${folder}/**`],
    "fs.write": [`${folder}/**`],
    "net.fetch": [`${origin}/**`],
    "tool.call": ["**"],
    "model.use": ["**"],
    "agent.delegate": ["**"],
    "cost.budget": ["USD:1"]
  }
})

describe.each(backends)("authority after the end over %s", (_name, backend) => {
  for (const kind of ["a daemon fiber", "a handler that does not unwind within its grace"] as const) {
    it.scopedLive(`§9.5 ${kind} of an ended job can do nothing`, () =>
      Effect.gen(function* () {
        const { origin, seen } = yield* server()
        const begun = yield* Deferred.make<void>()
        const ended = yield* Deferred.make<void>()
        const tried = yield* Deferred.make<Map<string, string>>()
        const before = new Map<string, string>()
        const working = (left: (all: Map<string, string>) => Effect.Effect<unknown>) =>
          Effect.gen(function* () {
            const tryAll = yield* attempts(`${origin}/a`)
            yield* tryAll((name, outcome) => before.set(name, outcome))
            yield* Deferred.succeed(begun, undefined)
            const after = new Map<string, string>()
            yield* Effect.zipRight(
              Deferred.await(ended),
              tryAll((name, outcome) => after.set(name, outcome))
            ).pipe(Effect.zipRight(left(after)))
          })
        const agents = Layer.mergeAll(
          Agent.untyped("echo", (input) => Effect.succeed(input)),
          Agent.untyped("left", () => {
            const all = Effect.scoped(working((after) => Deferred.succeed(tried, after)))
            return kind === "a daemon fiber"
              ? Effect.zipRight(Effect.forkDaemon(all), Effect.as(Deferred.await(begun), "done"))
              : Effect.uninterruptible(all)
          })
        ).pipe(Layer.provide([NodeContext.layer, NodeHttpClient.layerUndici]))
        yield* Effect.gen(function* () {
          const peer = yield* hello({})
          const accepted = yield* submit(peer, "left", 1, lease(origin))
          // Otherwise it might have tried nothing while it could.
          yield* Deferred.await(begun)
          if (kind !== "a daemon fiber") yield* peer.send("job.cancel", { job_id: accepted.job_id })
          yield* peer.terminal(accepted.job_id!)
          const count = seen.length
          yield* Deferred.succeed(ended, undefined)
          const after = yield* Deferred.await(tried)
          expect([...after].filter(([, outcome]) => outcome === "done")).toEqual([])
          expect(after.size).toBe(20)
          expect(seen.length).toBe(count)
          expect((yield* run(peer, "echo", 1)).payload.result).toBe(1)
        }).pipe(Effect.provide(world({ ...backend(), agents, limits: { cancelGrace: 300 } })))
        // All of it works while the job runs.
        expect([...before].filter(([, outcome]) => outcome !== "done")).toEqual([])
      })
    )
  }

  it.scopedLive("§9.6 a spent budget refuses reads and writes of handles that are open", () =>
    Effect.gen(function* () {
      const agents = Agent.untyped("spends", () =>
        Effect.gen(function* () {
          const fs = yield* FileSystem.FileSystem
          const handle = yield* fs.open(file, { flag: "r+" })
          const first = yield* Effect.exit(handle.read(new Uint8Array(4)))
          yield* Job.spend("cost.x", "1 USD")
          const rest = [
            handle.read(new Uint8Array(4)),
            handle.readAlloc(4),
            handle.write(new Uint8Array(1)),
            handle.stat
          ]
          const exits = yield* Effect.forEach(rest as ReadonlyArray<Effect.Effect<unknown, unknown>>, Effect.exit)
          return [first, ...exits].map(({ _tag }) => _tag)
        })
      ).pipe(Layer.provide(NodeContext.layer))
      yield* Effect.gen(function* () {
        const peer = yield* hello({})
        const end = yield* run(peer, "spends", 1, lease("http://127.0.0.1:1"))
        expect(end.payload.result).toEqual(["Success", "Failure", "Failure", "Failure", "Failure"])
      }).pipe(Effect.provide(world({ ...backend(), agents })))
    })
  )
})
