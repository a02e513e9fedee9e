import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { CommandExecutor } from "@effect/platform"
import { NodeContext, NodeHttpClient } from "@effect/platform-node"
import { beforeEach, describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Layer, TestClock } from "effect"
import { Agent, Job } from "../../src/agent/index.js"
import { redirecting, server } from "../agent/httpServers.js"
import { makeTree, snapshot, temporaryRoot } from "../agent/trees.js"
import { sqliteFile, webSocket } from "./backends.js"
import { calls } from "./leaseWorld.js"
import { allFeatures, eventsOf, type Frame, hello, type Peer, run, submit } from "./peer.js"
import {
  copy,
  fetchText,
  list,
  postRetrying,
  read,
  readIfPossible,
  readThroughLink,
  start,
  write
} from "./plainHandlers.js"
import { gate, resetGates, world } from "./world.js"

beforeEach(resetGates)

const platform = Layer.merge(NodeContext.layer, NodeHttpClient.layer)

const handlers = { copy, fetchText, list, postRetrying, read, readIfPossible, readThroughLink, start, write }

interface Input {
  readonly does: keyof typeof handlers
  readonly with: ReadonlyArray<string>
}

const perform = (input: unknown) => {
  const { does, with: texts } = input as Input
  // every handler takes texts and needs nothing but the platform
  const handler = handlers[does] as (...texts: ReadonlyArray<string>) => ReturnType<typeof readIfPossible>
  return handler(...texts)
}

const agents = Layer.mergeAll(
  Agent.untyped("plain", perform),
  Agent.untyped("trusted", perform, { unguarded: [CommandExecutor.CommandExecutor] }),
  Agent.untyped("spends", (input) => Effect.zipRight(Job.spend("cost.x", "1 USD"), perform(input))),
  Agent.untyped("waits", (input) => Effect.zipRight(Deferred.await(gate("go")), perform(input)))
).pipe(Layer.provide(platform))

const main = world({ transport: webSocket, store: sqliteFile, agents })
const features = allFeatures.filter((one) => one !== "heartbeat")

/** A tree, a server, a peer, and a lease that covers `in` and `/api`. */
const scene = Effect.gen(function* () {
  const root = yield* temporaryRoot
  makeTree(root)
  writeFileSync(join(root, "out/secret"), "hunter2")
  mkdirSync(join(root, "in-look-alike"), { recursive: true })
  const http = yield* server((request, response) => redirecting(request, response))
  const peer = yield* hello({ features })
  const lease_request = {
    "fs.read": [`${root}/in/**`],
    "fs.write": [`${root}/in/**`],
    "net.fetch": [`${http.origin}/api/**`, `${http.origin}/r?**`]
  }
  const job = (does: Input["does"], ...arguments_: ReadonlyArray<string>) =>
    run(peer, "plain", { does, with: arguments_ }, { lease_request })
  return { root, http, peer, lease_request, job }
})

/** The job was refused, its observers were told so, and nobody was told a secret. */
const expectRefused = (peer: Peer, end: Frame, tool: string) => {
  expect(end.payload).toMatchObject({ final_status: "error", code: "PERMISSION_DENIED", retryable: false })
  const told = calls(peer, end.job_id!)
  expect(told.map((call) => [call.tool, call.error?.code])).toEqual([[tool, "PERMISSION_DENIED"]])
  expect(JSON.stringify(peer.seen)).not.toContain("hunter2")
}

describe("ordinary code in a whole runtime", () => {
  it.scoped("§9.3 works as ever within its lease, and nothing is told of it", () =>
    Effect.gen(function* () {
      const { http, job, peer, root } = yield* scene
      expect((yield* job("read", `${root}/in/a`)).payload.result).toBe("alpha")
      expect((yield* job("write", `${root}/in/new`)).payload.result).toBe("written")
      expect((yield* job("copy", `${root}/in/sub`, `${root}/in/copied`)).payload.result).toBe("copied")
      expect((yield* job("list", `${root}/in/copied`)).payload.result.toSorted()).toEqual(["b", "deep", "deep/c"])
      expect((yield* job("fetchText", `${http.origin}/api/x?y=1`)).payload.result).toBe("GET /api/x?y=1")
      expect((yield* job("read", `${root}/in/to-a`)).payload.result).toBe("alpha")
      expect(readFileSync(join(root, "in/new"), "utf8")).toBe("written")
      const kinds = peer.events().flatMap((frame) => (frame.type === "job.event" ? [frame.payload.kind] : []))
      expect(new Set(kinds)).toEqual(new Set(["status"]))
    }).pipe(Effect.provide(main))
  )

  it.scoped("§9.3 gets a denial in the words of the service, and goes on if it handles it", () =>
    Effect.gen(function* () {
      const { job, peer, root } = yield* scene
      const end = yield* job("readIfPossible", `${root}/out/secret`)
      expect(end.payload.result).toBe("cannot: PermissionDenied")
      expect(calls(peer, end.job_id!)).toMatchObject([
        { tool: "fs.read", args: { path: `${root}/out/secret` }, error: { code: "PERMISSION_DENIED" } }
      ])
    }).pipe(Effect.provide(main))
  )

  for (const [name, tool, does, arguments_] of [
    ["a path outside", "fs.read", "read", ["$/out/secret"]],
    ["..", "fs.read", "read", ["$/in/../out/secret"]],
    [".. behind a link", "fs.read", "read", ["$/in/through"]],
    ["a neighbour whose name begins alike", "fs.read", "read", ["$/in-look-alike/x"]],
    ["a link to a file", "fs.read", "read", ["$/in/to-secret"]],
    ["a link to a directory", "fs.read", "read", ["$/in/to-out/secret"]],
    ["a relative link", "fs.read", "read", ["$/in/twice-out/s"]],
    ["a link of its own making", "fs.read", "readThroughLink", ["$/out/secret", "$/in/mine"]],
    ["a link that dangles", "fs.write", "write", ["$/in/dangling-out"]],
    ["a link that dangles further on", "fs.write", "write", ["$/in/dangling-through"]],
    ["a tree copied to the outside", "fs.write", "copy", ["$/in/sub", "$/out/copied"]],
    ["a tree copied from the outside", "fs.read", "copy", ["$/out", "$/in/copied"]],
    ["a listing of the outside", "fs.read", "list", ["$/in/to-out"]],
    ["an escaped dot", "fs.read", "read", ["$/in/%2e%2e/out/secret"]],
    ["an escaped separator", "fs.read", "read", ["$/in/..%2fout%2fsecret"]],
    ["a doubly escaped separator", "fs.read", "read", ["$/in/..%252fout/secret"]],
    ["a full-width dot", "fs.read", "read", ["$/in/\uff0e\uff0e/out/secret"]],
    ["a backslash", "fs.read", "read", ["$/in\\..\\out\\secret"]],
    ["a NUL", "fs.read", "read", ["$/in/a\0/../../out/secret"]]
  ] as const) {
    it.scoped(`1.0 §14 no way around by ${name}`, () =>
      Effect.gen(function* () {
        const { job, peer, root } = yield* scene
        const before = snapshot(join(root, "out"))
        const end = yield* job(does, ...arguments_.map((text) => text.replace("$", root)))
        expectRefused(peer, end, tool)
        expect(snapshot(join(root, "out"))).toBe(before)
      }).pipe(Effect.provide(main))
    )
  }

  for (const [name, url] of [
    ["another path", "http://127.0.0.1:$/secret"],
    ["dot segments", "http://127.0.0.1:$/api/../secret"],
    ["escaped dots", "http://127.0.0.1:$/api/%2e%2e/secret"],
    ["an escaped separator", "http://127.0.0.1:$/api%2fsecret"],
    ["another host name", "http://localhost:$/api/x"],
    ["user information", "http://user:hunter2@127.0.0.1:$/api/x"],
    ["the host in the user information", "http://127.0.0.1:$@localhost:$/api/x"],
    ["an IPv6 address", "http://[::ffff:127.0.0.1]:$/api/x"],
    ["the default port", "http://127.0.0.1/api/x"],
    ["another scheme", "https://127.0.0.1:$/api/x"],
    ["a file", "file:///etc/passwd"],
    ["white space", " http://127.0.0.1:$/api/x"],
    ["a backslash", "http://127.0.0.1:$\\@localhost/api/x"],
    ["a redirect", "http://127.0.0.1:$/r?302,/secret?key=hunter2"],
    ["a redirect that keeps the method", "http://127.0.0.1:$/r?307,/secret"],
    ["a redirect to a file", "http://127.0.0.1:$/r?302,file:///etc/passwd"],
    ["a redirect of a redirect", "http://127.0.0.1:$/r?302,/r%3F302%2C%2Fsecret"]
  ] as const) {
    it.scoped(`1.0 §14 no way around by ${name}`, () =>
      Effect.gen(function* () {
        const { http, job, peer } = yield* scene
        const end = yield* job("fetchText", url.replaceAll("$", String(http.port)))
        expectRefused(peer, end, "net.fetch")
        // What was asked for is the redirects at most.
        expect(http.seen.filter(({ line }) => !line.startsWith("GET /r?"))).toEqual([])
      }).pipe(Effect.provide(main))
    )
  }

  it.scoped("1.0 §14 another spelling of what is covered is covered, and is sent as it was checked", () =>
    Effect.gen(function* () {
      const { http, job, peer } = yield* scene
      for (const url of [
        `HTTP://127.0.0.1:${http.port}/api/x`,
        `http://2130706433:${http.port}/api/x`,
        `http://127.1:${http.port}/a/../api/./x#top`,
        `http://127.0.0.1.:${http.port}/%61pi/x`,
        `http://127.0.0.1:${http.port}/r?302,/api/x`
      ]) {
        expect((yield* job("fetchText", url)).payload.result).toBe("GET /api/x")
      }
      expect(peer.events().filter((frame) => frame.payload.kind === "tool_call")).toEqual([])
    }).pipe(Effect.provide(main))
  )

  it.scoped("§9.3 a denial is not retried as a failure of the network is", () =>
    Effect.gen(function* () {
      const { http, job, peer } = yield* scene
      expectRefused(peer, yield* job("postRetrying", `${http.origin}/secret`), "net.fetch")
      expect(http.seen).toEqual([])
    }).pipe(Effect.provide(main))
  )

  it.scoped("§14 an unhandled failure of the network tells no query", () =>
    Effect.gen(function* () {
      const { http, peer } = yield* scene
      const lease_request = { "net.fetch": ["http://127.0.0.1:1/**", `${http.origin}/**`] }
      const end = yield* run(
        peer,
        "plain",
        { does: "fetchText", with: ["http://127.0.0.1:1/api?key=hunter2"] },
        { lease_request }
      )
      expect(end.payload).toMatchObject({ final_status: "error", code: "AGENT_FAILURE" })
      expect(end.payload.message).toContain("http://127.0.0.1:1/api?…")
      expect(JSON.stringify(peer.seen)).not.toContain("hunter2")
    }).pipe(Effect.provide(main))
  )

  it.scoped("§9.2 starts no process, unless its author hands that over openly", () =>
    Effect.gen(function* () {
      const { job, lease_request, peer } = yield* scene
      const end = yield* job("start", "cat", "/etc/hostname")
      expect(end.payload).toMatchObject({ final_status: "error", code: "PERMISSION_DENIED" })
      expect(end.payload.message).toContain("unguarded")
      const open = yield* run(peer, "trusted", { does: "start", with: ["echo", "hello"] }, { lease_request })
      expect(open.payload.result).toBe("hello\n")
      // Only what is named is handed over.
      const files = yield* run(peer, "trusted", { does: "read", with: ["/etc/hostname"] }, { lease_request })
      expectRefused(peer, files, "fs.read")
    }).pipe(Effect.provide(main))
  )

  it.scoped("§9.3 without a lease it does nothing at all", () =>
    Effect.gen(function* () {
      const { http, peer, root } = yield* scene
      for (const input of [
        { does: "read", with: [`${root}/in/a`] },
        { does: "write", with: [`${root}/in/a`] },
        { does: "list", with: [`${root}/in`] },
        { does: "fetchText", with: [`${http.origin}/api/x`] }
      ]) {
        expect((yield* run(peer, "plain", input)).payload.code).toBe("PERMISSION_DENIED")
      }
      expect(readFileSync(join(root, "in/a"), "utf8")).toBe("alpha")
      expect(http.seen).toEqual([])
    }).pipe(Effect.provide(main))
  )

  it.scoped("§9.6 does nothing any more on a spent budget", () =>
    Effect.gen(function* () {
      const { http, lease_request, peer, root } = yield* scene
      const lease = { ...lease_request, "cost.budget": ["USD:1"] }
      for (const [does, argument] of [
        ["read", `${root}/in/a`],
        ["write", `${root}/in/a`],
        ["fetchText", `${http.origin}/api/x`]
      ]) {
        const end = yield* run(peer, "spends", { does, with: [argument] }, { lease_request: lease })
        expect(end.payload).toMatchObject({ final_status: "error", code: "BUDGET_EXHAUSTED", retryable: false })
      }
      expect(http.seen).toEqual([])
    }).pipe(Effect.provide(main))
  )

  it.scoped("§9.5 does nothing any more on an expired lease, and its job is ended", () =>
    Effect.gen(function* () {
      const { http, lease_request, peer, root } = yield* scene
      const lease_constraints = { expires_at: "1970-01-01T00:01:00Z" }
      const jobs = yield* Effect.forEach(
        [
          ["read", `${root}/in/a`],
          // Whatever it is that it tries.
          ["read", `${root}/in/\0`],
          ["readIfPossible", `${root}/in/a`],
          ["fetchText", `${http.origin}/api/x`],
          ["fetchText", `http://user:hunter2@127.0.0.1/`]
        ],
        ([does, argument]) => submit(peer, "waits", { does, with: [argument] }, { lease_request, lease_constraints })
      )
      yield* TestClock.adjust("1 minute")
      yield* Deferred.succeed(gate("go"), undefined)
      for (const { job_id: jobId } of jobs) {
        expect((yield* peer.terminal(jobId!)).payload).toMatchObject({
          final_status: "error",
          code: "LEASE_EXPIRED",
          completed_at: "1970-01-01T00:01:00.000Z"
        })
        expect(calls(peer, jobId!)).toMatchObject([{ error: { code: "LEASE_EXPIRED" } }])
        expect(eventsOf(peer, jobId!).at(-1)!.type).toBe("job.error")
      }
      expect(http.seen).toEqual([])
      expect(JSON.stringify(peer.seen)).not.toContain("hunter2")
    }).pipe(Effect.provide(main))
  )
})
