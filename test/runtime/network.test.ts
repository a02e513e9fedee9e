/** What a job reaches of the network, through a whole runtime (ARCP 1.1 §9.3, §9.4, 1.0 §14). */
import { lookup } from "node:dns/promises"
import { hostname } from "node:os"
import { HttpClient } from "@effect/platform"
import { NodeHttpClient } from "@effect/platform-node"
import { beforeEach, describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Either, Layer } from "effect"
import { Agent, Job, Resolver } from "../../src/agent/index.js"
import { PinnedHttpClient } from "../../src/agent/node.js"
import * as Address from "../../src/authority/Address.js"
import { Lease } from "../../src/authority/index.js"
import { LeasePolicy } from "../../src/runtime/index.js"
import { server } from "../agent/httpServers.js"
import { calls } from "./leaseWorld.js"
import { ask, connect, hears, machine, open } from "./machine.js"
import { allFeatures, type Frame, hello, type Peer, run, submit } from "./peer.js"
import { gate, resetGates, world } from "./world.js"

beforeEach(resetGates)

const features = allFeatures.filter((feature) => feature !== "heartbeat")

const get = (url: unknown) =>
  HttpClient.get(String(url)).pipe(
    Effect.flatMap((response) => response.text),
    Effect.scoped
  )

/** Takes the thread for longer than a turn of the event loop lasts. */
const spend = Effect.sync(() => {
  for (const end = performance.now() + 20; performance.now() < end; );
})

/** A name, not `localhost`, that this machine resolves to an address that is not public. */
const [ownName] = await Promise.all(
  [hostname(), "ip6-localhost"].map((name) =>
    lookup(name, { all: true }).then(
      (found) => (found.some(({ address }) => !Address.isPublic(address)) ? name.toLowerCase() : undefined),
      () => undefined
    )
  )
).then((names) => names.filter((name) => name !== undefined))

const inside = Layer.succeed(Resolver, { resolve: () => Effect.succeed(["127.0.0.1"]) })

const agents = Layer.mergeAll(
  Agent.untyped("get", get).pipe(Layer.provide(NodeHttpClient.layer)),
  // In its first step, which is part of the commit's.
  Agent.untyped("get-first", (url) =>
    Effect.suspend(() => {
      Effect.runSync(spend)
      return get(url)
    })
  ).pipe(Layer.provide(NodeHttpClient.layer)),
  Agent.untyped("get-late", (url) => Effect.zipRight(spend, get(url))).pipe(Layer.provide(NodeHttpClient.layer)),
  Layer.unwrapEffect(
    Effect.map(HttpClient.HttpClient, (client) =>
      Agent.untyped("get-captured", (url) => Effect.zipRight(spend, Effect.scoped(client.get(String(url)))))
    )
  ).pipe(Layer.provide(NodeHttpClient.layer)),
  Agent.untyped("get-pinned", get).pipe(Layer.provide(PinnedHttpClient.layer())),
  Agent.untyped("get-named", get).pipe(Layer.provide([PinnedHttpClient.layer(), inside])),
  Agent.untyped("authorize", (url) => Job.authorize("net.fetch", String(url))),
  Agent.untyped("parent", (input) => {
    const { lease, url } = input as { lease: ReadonlyArray<string>; url: string }
    return Job.delegate("get", url, { lease: { "net.fetch": lease } })
  }),
  Agent.untyped(
    "later",
    (url) =>
      Effect.gen(function* () {
        const { attempt } = yield* Job
        yield* Job.log(`later ${attempt}`)
        yield* Deferred.await(gate(`later ${attempt}`))
        return yield* get(url)
      }),
    { onRestart: "rerun" }
  ).pipe(Layer.provide(NodeHttpClient.layer))
)

const main = world({ agents })

const lease = (...patterns: ReadonlyArray<string>) => ({ lease_request: { "net.fetch": patterns } })

const expectRefused = (peer: Peer, end: Frame, url: string) => {
  expect(end.payload).toMatchObject({
    final_status: "error",
    code: "PERMISSION_DENIED",
    details: { capability: "net.fetch", reason: "address" }
  })
  expect(end.payload.message).toContain("name the host without a wildcard in net.fetch")
  expect(calls(peer, end.job_id!)).toMatchObject([
    { tool: "net.fetch", args: { url }, error: { code: "PERMISSION_DENIED" } }
  ])
}

describe("the network's inside", () => {
  for (const agent of ["get", "get-pinned"]) {
    it.scoped(`1.0 §14 a wildcard does not reach it, and observers see which URL was refused (${agent})`, () =>
      Effect.gen(function* () {
        const { origin, port, seen } = yield* server()
        const peer = yield* hello({ features })
        for (const url of [`${origin}/a`, `http://localhost:${port}/a`, "http://169.254.169.254/latest/meta-data"]) {
          expectRefused(peer, yield* run(peer, agent, url, lease("http://**")), url)
        }
        expect(seen).toEqual([])
        const end = yield* run(peer, agent, `${origin}/a`, lease("http://**", `${origin}/**`))
        expect(end.payload.result).toBe("GET /a")
      }).pipe(Effect.provide(main))
    )
  }

  it.scoped(
    "1.0 §14 a name that the agent's resolver finds inside is refused, and reached where the lease names it",
    () =>
      Effect.gen(function* () {
        const { port, seen } = yield* server()
        const peer = yield* hello({ features })
        const url = `http://intranet.test:${port}/secret`
        expectRefused(peer, yield* run(peer, "get-named", `${url}?key=hunter2`, lease("http://**")), `${url}?…`)
        expect(seen).toEqual([])
        expect(JSON.stringify(peer.seen.filter(({ type }) => type !== "job.accepted"))).not.toMatch(
          /hunter2|127\.0\.0\.1/
        )
        const end = yield* run(peer, "get-named", url, lease(`http://intranet.test:${port}/**`))
        expect(end.payload.result).toBe("GET /secret")
      }).pipe(Effect.provide(main))
  )

  it.scopedLive(
    "a refused connection is noticed after a turn that is over, by a guarded client and by one of a tool's",
    () =>
      Effect.gen(function* () {
        const peer = yield* hello({ features })
        const url = "http://127.0.0.1:1/nobody"
        for (const agent of ["get-first", "get-late", "get-captured"]) {
          const end = yield* run(peer, agent, url, lease("http://127.0.0.1:1/**"))
          expect(end.payload).toMatchObject({ code: "AGENT_FAILURE" })
        }
      }).pipe(Effect.provide(main))
  )

  it.scopedLive.skipIf(ownName === undefined)(
    "1.0 §14 without a resolver of the agent's own, names are resolved as the system does",
    () =>
      Effect.gen(function* () {
        const peer = yield* hello({ features })
        const url = `http://${ownName}:1/secret`
        expectRefused(peer, yield* run(peer, "get", url, lease("http://**")), url)
        // Named, it is contacted, where nothing answers.
        const end = yield* run(peer, "get", url, lease(`http://${ownName}:1/**`))
        expect(end.payload).toMatchObject({ code: "AGENT_FAILURE" })
      }).pipe(Effect.provide(main))
  )

  it.scoped("§9.3 Job.authorize refuses it by the spelling of the host", () =>
    Effect.gen(function* () {
      const peer = yield* hello({ features })
      for (const url of ["http://127.0.0.1/a", "http://[::1]/a", "http://localhost/a", "http://10.0.0.1/a"]) {
        expectRefused(peer, yield* run(peer, "authorize", url, lease("http://**")), url)
      }
      expect((yield* run(peer, "authorize", "http://127.1/a", lease("http://127.0.0.1/**"))).payload.result).toBe(
        "http://127.0.0.1/a"
      )
      expect((yield* run(peer, "authorize", "http://example.com/", lease("http://**"))).payload.result).toBe(
        "http://example.com/"
      )
    }).pipe(Effect.provide(main))
  )

  it.scoped("§9.4 a delegated job does not reach it by naming a host that its parent does not name", () =>
    Effect.gen(function* () {
      const { origin, seen } = yield* server()
      const peer = yield* hello({ features })
      const ask = (...patterns: ReadonlyArray<string>) =>
        run(
          peer,
          "parent",
          { url: `${origin}/a`, lease: [`${origin}/**`] },
          { lease_request: { "agent.delegate": ["get"], "net.fetch": patterns } }
        )
      expect((yield* ask("http://**")).payload).toMatchObject({ code: "PERMISSION_DENIED" })
      expect(seen).toEqual([])
      expect((yield* ask("http://**", `${origin}/**`)).payload.result).toBe("GET /a")
    }).pipe(Effect.provide(main))
  )
})

const policy = (named: (id: string) => ReadonlyArray<string>) =>
  LeasePolicy.layer({
    allowed: ({ id }) => Either.getOrThrow(Lease.compile({ "net.fetch": ["http://**", ...named(id)] }))
  })

describe("the network's inside under a policy", () => {
  it.scopedLive("§9 a submitter does not reach it by naming a host that the policy does not name", () =>
    Effect.gen(function* () {
      const { origin, seen } = yield* server()
      const under = policy((id) => (id === "bob" ? [`${origin}/**`] : []))
      yield* Effect.gen(function* () {
        const alice = yield* hello({ features })
        expectRefused(alice, yield* run(alice, "get", `${origin}/a`, lease(`${origin}/**`)), `${origin}/a`)
        expect(seen).toEqual([])
        const bob = yield* hello({ features, token: "bob-token" })
        expect((yield* run(bob, "get", `${origin}/a`, lease(`${origin}/**`))).payload.result).toBe("GET /a")
      }).pipe(Effect.provide(Layer.provide(world({ agents }), under)))
    })
  )

  for (const [title, token, layer, reaches] of [
    ["what the policy names for the principal", "bob-token", "by id", true],
    ["nothing else", "alice-token", "by id", false],
    ["nothing where the policy needs what is not stored", "bob-token", "by claims", false],
    ["what it asked for where there is no policy", "alice-token", "none", true]
  ] as const) {
    it.scoped(`§9.3 after a restart a job that runs again reaches ${title}`, () =>
      Effect.gen(function* () {
        const { origin } = yield* server()
        const under = {
          "by id": policy((id) => (id === "bob" ? [`${origin}/**`] : [])),
          "by claims": LeasePolicy.layer({
            allowed: ({ claims }) => (claims["role"] === "guest" ? Lease.emptyLease : undefined)
          }),
          none: Layer.empty
        }[layer]
        const { start } = machine(agents)
        const end = yield* Effect.gen(function* () {
          const first = yield* connect(yield* start, token)
          const accepted = yield* submit(first, "later", `${origin}/a`, lease(`${origin}/**`))
          yield* hears(first, "later 1")
          const second = yield* connect(yield* start, token)
          yield* ask(second, "job.subscribe", { job_id: accepted.job_id })
          yield* open("later 2")
          return yield* second.terminal(accepted.job_id!)
        }).pipe(Effect.provide(under))
        expect(end.payload).toMatchObject(reaches ? { result: "GET /a" } : { code: "PERMISSION_DENIED" })
      })
    )
  }
})
