import { beforeEach, describe, expect, it } from "@effect/vitest"
import { Context, Effect, Exit, Fiber, Layer, Scope, TestClock } from "effect"
import { type ChildProcess, spawn } from "node:child_process"
import { copyFileSync } from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { Authenticator } from "../../src/auth/index.js"
import { Ids } from "../../src/protocol/index.js"
import { ArcpRuntime, Credentials, Limits } from "../../src/runtime/index.js"
import { MemoryStore } from "../../src/store/index.js"
import { SqliteStore } from "../../src/store/sqlite.js"
import { TestGateway } from "../../src/testing/index.js"
import * as MemoryTransport from "../../src/transport/MemoryTransport.js"
import { WebSocketClient } from "../../src/transport/node.js"
import { durableMemory } from "./credentialWorld.js"
import { barrier, dial, eventsOf, type Frame, hello, type Peer, submit } from "./peer.js"
import {
  agents,
  allRevoked,
  eventually,
  folder,
  heard,
  leased,
  openNetwork,
  provisioned,
  provisionedBackends,
  request,
  written
} from "./provisionedWorld.js"
import { resetGates, world } from "./world.js"

beforeEach(resetGates)

const features = (peer: { readonly welcome: Frame }): ReadonlyArray<string> =>
  peer.welcome.payload.capabilities.features
const keep = (peer: Peer, name: string, rest: object = {}) => submit(peer, "keeper", { name }, { ...leased, ...rest })
const resumed = (peer: Peer & { readonly sessionId: string; readonly token: string }) => ({
  session_id: peer.sessionId,
  resume_token: peer.token,
  last_event_seq: 0
})
const rotated = (f: Frame) => f.payload.body?.phase === "credential_rotated"

const provisioner = Layer.provide(TestGateway.layer(), Ids.layer)

describe("§14 who cannot guarantee revocation does not offer credentials", () => {
  it.scoped.each([
    ["a durable ledger without a provisioner", SqliteStore.layer({ filename: ":memory:", durable: true }), false],
    ["a provisioner with a ledger in memory", Layer.merge(MemoryStore.layer, provisioner), false],
    ["a database in memory", Layer.merge(SqliteStore.layer({ filename: ":memory:" }), provisioner), false],
    ["both", Layer.merge(SqliteStore.layer({ filename: ":memory:", durable: true }), provisioner), true],
    ["a ledger beside the store", Layer.mergeAll(MemoryStore.layer, durableMemory, provisioner), true]
  ] as const)("%s", ([_name, store, offered]) =>
    Effect.gen(function* () {
      const peer = yield* hello()
      expect(features(peer).includes("provisioned_credentials")).toBe(offered)
      const accepted = yield* submit(peer, "echo", 1, leased)
      expect(accepted.type).toBe("job.accepted")
      expect("credentials" in accepted.payload).toBe(offered)
      expect((yield* peer.terminal(accepted.job_id!)).payload.result).toBe(1)
    }).pipe(Effect.provide(world({ store })))
  )
})

describe.each(provisionedBackends)("credentials and transports over %s", (_name, backend) => {
  it.scoped("§14 an open network is not offered credentials and is told none", () => {
    const network = { open: true }
    return Effect.gen(function* () {
      const far = yield* hello()
      expect(features(far)).not.toContain("provisioned_credentials")
      network.open = false
      const near = yield* hello()
      expect(features(near)).toContain("provisioned_credentials")
      const accepted = yield* keep(near, "a", { idempotency_key: "k" })
      expect(accepted.payload.credentials).toHaveLength(1)
      const id = yield* far.send("job.subscribe", { job_id: accepted.job_id })
      expect((yield* far.reply(id)).payload).not.toHaveProperty("credentials")
      yield* far.reply(yield* far.send("session.list_jobs"))
      expect((yield* keep(far, "a", { idempotency_key: "k" })).payload).not.toHaveProperty("credentials")
      yield* barrier(far)
      expect(heard(far)).not.toContain("sk-test-")
    }).pipe(Effect.provide(provisioned(backend(), { transport: openNetwork(network) })))
  })

  it.scoped(
    "§6.3, §14 a session that is resumed over an open network gets no value, whatever it had negotiated",
    () => {
      const network = { open: false }
      return Effect.gen(function* () {
        const { rotate } = yield* Credentials
        const peer = yield* hello()
        const accepted = yield* keep(peer, "b")
        yield* peer.next("job.event", (f) => f.payload.body?.message === "waiting")
        yield* peer.drop
        yield* rotate(accepted.job_id!, accepted.payload.credentials[0].id)
        network.open = true
        // It names no features, which keeps those of the session.
        const again = yield* dial
        yield* again.send("session.hello", {
          auth: { scheme: "bearer", token: "alice-token" },
          resume: resumed(peer)
        })
        const welcome = yield* again.next("session.welcome")
        expect(features({ welcome })).not.toContain("provisioned_credentials")
        expect(features({ welcome })).toContain("subscribe")
        expect((yield* again.next("job.event", rotated)).payload.body).not.toHaveProperty("value")
        yield* rotate(accepted.job_id!, accepted.payload.credentials[0].id)
        expect((yield* again.next("job.event", rotated)).payload.body).not.toHaveProperty("value")
        yield* barrier(again)
        expect(heard(again)).not.toContain("sk-test-")
      }).pipe(Effect.provide(provisioned(backend(), { transport: openNetwork(network) })))
    }
  )
})

describe("the runtime's end", () => {
  /** Runtimes over a gateway that outlives them. */
  const runtimes = Effect.gen(function* () {
    const outside = yield* Layer.build(provisioner)
    const start = (filename: string) =>
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        const built = yield* Layer.buildWithScope(
          ArcpRuntime.layerWithConcerns({ drainTime: 0 }).pipe(
            Layer.provide(agents),
            Layer.provide(Limits.layer({ runningJobs: 1 })),
            Layer.provideMerge(MemoryTransport.layerEncoded),
            Layer.provide(Layer.succeedContext(outside)),
            Layer.provide(Authenticator.layerBearer({ "alice-token": "alice" })),
            Layer.provide(SqliteStore.layer({ filename }))
          ),
          scope
        )
        const stop = Effect.gen(function* () {
          const stopping = yield* Effect.fork(Scope.close(scope, Exit.void))
          yield* eventually(Effect.map(TestClock.adjust("5 seconds"), () => stopping.unsafePoll() !== null))
          yield* Fiber.join(stopping)
        })
        yield* Effect.addFinalizer(() => stop)
        return { built, stop }
      })
    return { outside, start, gateway: Context.get(outside, TestGateway) }
  })

  it.scoped("§9.8.2 a shutdown revokes what is live and what waits for a slot", () =>
    Effect.gen(function* () {
      const { gateway, outside, start } = yield* runtimes
      const { built, stop } = yield* start(join(folder, "shutdown.db"))
      yield* Effect.gen(function* () {
        const peer = yield* hello()
        for (const name of ["c", "d"]) yield* keep(peer, name)
      }).pipe(Effect.provide(built))
      expect(yield* gateway.liveKeys).toHaveLength(2)
      yield* stop
      expect((yield* Effect.provide(allRevoked, outside)).map(({ revocations }) => revocations)).toEqual([1, 1])
    })
  )

  it.scoped(
    "§9.8.2 after a crash, a gateway that hangs holds up its own jobs alone; an expired lease asks for nothing",
    () =>
      Effect.gen(function* () {
        const { gateway, start } = yield* runtimes
        const first = yield* start(join(folder, "crashed.db"))
        const before = yield* Effect.gen(function* () {
          const peer = yield* hello()
          const jobs = []
          for (const rest of [{}, {}, { lease_constraints: { expires_at: "1970-01-01T00:01:00Z" } }]) {
            jobs.push((yield* submit(peer, "phoenix", {}, { ...leased, ...rest })).job_id!)
          }
          yield* peer.next("job.event", (f) => f.payload.body?.message === "waiting")
          return { peer, jobs }
        }).pipe(Effect.provide(first.built))
        // What a crash at this moment would leave.
        for (const end of ["", "-wal"]) copyFileSync(join(folder, `crashed.db${end}`), join(folder, `copy.db${end}`))
        yield* TestClock.adjust("2 minutes")
        yield* gateway.hangIssues(true)
        const issued = (yield* gateway.counts).issued
        const second = yield* start(join(folder, "copy.db"))
        yield* Effect.gen(function* () {
          const [cancelled, waiting, expired] = before.jobs
          const peer = yield* hello({ resume: { ...resumed(before.peer) } })
          expect((yield* peer.terminal(expired!)).payload.code).toBe("LEASE_EXPIRED")
          yield* request(peer, "job.cancel", { job_id: cancelled })
          expect((yield* peer.terminal(cancelled!)).payload.code).toBe("CANCELLED")
          yield* gateway.hangIssues(false)
          const told = yield* peer.next("job.event", rotated)
          expect(told.job_id).toBe(waiting)
          yield* eventually(Effect.map(gateway.liveKeys, (keys) => keys.length === 1 && keys[0]!.jobId === waiting))
          // The one of the job that was cancelled came too late, and is gone.
          expect((yield* gateway.counts).issued).toBe(issued + 2)
          yield* barrier(peer)
          expect(eventsOf(peer, cancelled!).filter((f) => f.type === "job.error")).toHaveLength(1)
        }).pipe(Effect.provide(second.built))
      })
  )

  it.scopedLive("§9.8.2, §14 after kill -9 a restart revokes every key; a job that runs again gets a new one", () =>
    Effect.gen(function* () {
      const gateway = yield* httpGateway
      const file = "killed.db"
      const serve = serveProcess(join(folder, file), gateway.url)
      const first = yield* serve
      const before = yield* Effect.gen(function* () {
        const peer = yield* hello()
        const once = yield* submit(peer, "once", {}, leased)
        const again = yield* submit(peer, "again", {}, leased)
        const told = yield* peer.next("job.event", rotated)
        expect(told.payload.body.value).toBe("sk-http-3")
        yield* eventually(Effect.sync(() => gateway.live().length === 2))
        yield* Effect.all([once, again].map(({ job_id }) => eventually(Effect.sync(() => waits(peer, job_id!)))))
        first.child.kill("SIGKILL")
        yield* first.exit
        return { peer, once, again }
      }).pipe(Effect.provide(WebSocketClient.layer({ url: first.url })))
      expect(gateway.live()).toEqual(["vk_1", "vk_3"])
      expect(written(file)).toContain("vk_3")
      expect(written(file)).not.toContain("sk-http-")
      const second = yield* serve
      yield* Effect.gen(function* () {
        const { again, once, peer } = before
        const back = yield* hello({ resume: resumed(peer) })
        expect((yield* back.terminal(once.job_id!)).payload).toMatchObject({
          code: "INTERNAL_ERROR",
          details: { reason: "runtime_restarted" }
        })
        yield* eventually(Effect.sync(() => eventsOf(back, again.job_id!).filter(rotated).length === 2))
        gateway.go()
        expect((yield* back.terminal(again.job_id!)).payload.result).toEqual({ attempt: 2, credentials: 1 })
        // The replay of the first rotation has no value any more; the new credential is told with its own.
        const [replayed, fresh, ...others] = eventsOf(back, again.job_id!).filter(rotated)
        expect(replayed!.payload.body).toEqual({
          phase: "credential_rotated",
          message: "a credential has a new value",
          id: again.payload.credentials[0].id
        })
        expect(fresh!.payload.body).toMatchObject({ value: "sk-http-4", id: expect.stringMatching(/^cred_/) })
        expect(others).toEqual([])
        const phases = eventsOf(back, again.job_id!).map((f) => f.payload.body?.phase ?? f.payload.kind ?? f.type)
        expect(phases.slice(-4)).toEqual(["running", "credential_rotated", "log", "job.result"])
        yield* eventually(Effect.sync(() => gateway.live().length === 0))
      }).pipe(Effect.provide(WebSocketClient.layer({ url: second.url })))
      expect(gateway.revoked().toSorted()).toEqual(["vk_1", "vk_2", "vk_3", "vk_4"])
      expect(written(file)).not.toContain("sk-http-")
      expect(second.said() + first.said()).not.toContain("sk-http-")
    })
  )
})

const waits = (peer: Peer, jobId: string): boolean =>
  eventsOf(peer, jobId).some((f) => f.payload.body?.message === "waiting")

/** A gateway that no kill of a runtime reaches. */
const httpGateway = Effect.acquireRelease(
  Effect.async<{
    readonly url: string
    readonly live: () => ReadonlyArray<string>
    readonly revoked: () => ReadonlyArray<string>
    /** Lets jobs that run again end. */
    readonly go: () => void
    readonly close: () => void
  }>((resume) => {
    let held: Array<() => void> | undefined = []
    const references = new Map<string, string>()
    const revoked = new Set<string>()
    const server = createServer((incoming, response) => {
      let text = ""
      incoming.on("data", (data) => (text += data))
      incoming.on("end", () => {
        const body = JSON.parse(text) as { readonly reference: string; readonly handle: string }
        if (incoming.url === "/go" && held !== undefined) return void held.push(() => response.end("{}"))
        if (incoming.url === "/issue") {
          const n = references.size + 1
          references.set(`vk_${n}`, body.reference)
          return response.end(JSON.stringify({ handle: `vk_${n}`, value: `sk-http-${n}` }))
        }
        for (const [handle, reference] of references) {
          if (handle === body.handle || reference === body.reference) revoked.add(handle)
        }
        return response.end("{}")
      })
    })
    server.listen(0, "127.0.0.1", () =>
      resume(
        Effect.succeed({
          url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
          live: () => [...references.keys()].filter((handle) => !revoked.has(handle)),
          revoked: () => [...revoked],
          go: () => {
            for (const answer of held ?? []) answer()
            held = undefined
          },
          close: () => {
            server.close()
            server.closeAllConnections()
          }
        })
      )
    )
  }),
  ({ close }) => Effect.sync(close)
)

const root = fileURLToPath(new URL("../../", import.meta.url))
const program = fileURLToPath(new URL("fixtures/provisioned.ts", import.meta.url))

/** A runtime in a process of its own, once it listens; killed with the scope. */
const serveProcess = (filename: string, gateway: string) =>
  Effect.acquireRelease(
    Effect.async<{
      readonly url: string
      readonly child: ChildProcess
      readonly exit: Effect.Effect<void>
      readonly said: () => string
    }>((resume) => {
      const child = spawn(process.execPath, ["--import", "tsx", program, filename, gateway], {
        cwd: root,
        stdio: ["ignore", "pipe", "pipe"]
      })
      let said = ""
      const ended = new Promise<void>((done) => child.on("exit", () => done()))
      child.stderr.on("data", (data) => (said += data))
      child.stdout.on("data", (data) => {
        said += data
        const url = /^ws:.*$/m.exec(said)?.[0]
        if (url !== undefined) {
          resume(Effect.succeed({ url, child, exit: Effect.promise(() => ended), said: () => said }))
        }
      })
    }),
    ({ child, exit }) =>
      Effect.zipRight(
        Effect.sync(() => child.kill("SIGKILL")),
        exit
      )
  )
