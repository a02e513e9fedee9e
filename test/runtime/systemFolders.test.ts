/** `/proc`, `/sys` and `/dev` are closed to jobs: at the gate, over the real file system, and at admission. */
import { FileSystem } from "@effect/platform"
import { NodeContext } from "@effect/platform-node"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Either, Layer } from "effect"
import { readdirSync, readFileSync, realpathSync, symlinkSync } from "node:fs"
import { join } from "node:path"
import { Agent, Job } from "../../src/agent/index.js"
import type { Capability } from "../../src/authority/Capability.js"
import { Lease } from "../../src/authority/index.js"
import { isArcpError } from "../../src/protocol/Errors.js"
import type { WireLease } from "../../src/protocol/Fields.js"
import { LeasePolicy } from "../../src/runtime/index.js"
import { eventsOf, hello, type Peer, run } from "./peer.js"
import { world } from "./world.js"
import { scratch } from "../support/scratch.js"

const folder = realpathSync(scratch("arcp-system-"))

/** Reads each path, and answers its length or why it could not. */
const read = Agent.untyped("read", (input) =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    return yield* Effect.forEach(input as ReadonlyArray<string>, (path) =>
      fs.readFileString(path).pipe(
        Effect.map((text) => text.length),
        Effect.catchTag("SystemError", (error) => Effect.succeed(error.reason)),
        Effect.catchAll((error) => Effect.succeed(error._tag))
      )
    )
  })
).pipe(Layer.provide(NodeContext.layer))

/** Other ways to what stands at a path. */
const touch = Agent.untyped("touch", (input) =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const path = input as string
    const ways: Readonly<Record<string, Effect.Effect<unknown, { readonly _tag: string; readonly reason?: string }>>> =
      {
        stat: fs.stat(path),
        exists: fs.exists(path),
        list: fs.readDirectory(path),
        readLink: fs.readLink(path),
        realPath: fs.realPath(path),
        write: fs.writeFileString(path, "1"),
        truncate: fs.truncate(path),
        remove: fs.remove(path),
        copyFrom: fs.copyFile(path, `${folder}/copied`),
        symlinkTo: fs.symlink(path, `${folder}/made`)
      }
    const outcomes = yield* Effect.forEach(Object.entries(ways), ([name, way]) =>
      Effect.match(way, {
        onFailure: (error) => [name, error.reason ?? error._tag] as const,
        onSuccess: () => [name, "done"] as const
      })
    )
    return Object.fromEntries(outcomes)
  })
).pipe(Layer.provide(NodeContext.layer))

/** What `Job.authorize` answers for each target, or the reason of its refusal. */
const authorize = Agent.untyped("authorize", (input) =>
  Effect.forEach(input as ReadonlyArray<readonly [Capability, string]>, ([capability, target]) =>
    Effect.match(Job.authorize(capability, target), {
      onFailure: (error) => (isArcpError(error) ? `${error.code} ${String(error.details?.["reason"])}` : "?"),
      onSuccess: (canonical) => canonical
    })
  )
)

/** Delegates what it is told to and answers the outcome. */
const boss = Agent.untyped("boss", (input) => {
  const { child, lease } = input as { readonly child: unknown; readonly lease: WireLease }
  return Effect.match(Job.delegate("authorize", child, { lease }), {
    onFailure: (error) => (isArcpError(error) ? `${error.code} ${String(error.details?.["reason"])}` : "?"),
    onSuccess: (value) => value
  })
})

const agents = Layer.mergeAll(read, touch, authorize, boss)
const under = (policy: Layer.Layer<never> = Layer.empty) => Layer.provide(world({ agents }), policy)

const allowing = (lease: WireLease) => LeasePolicy.layer({ allowed: () => Either.getOrThrow(Lease.compile(lease)) })

const result = (peer: Peer, agent: string, input: unknown, lease_request: object) =>
  Effect.map(run(peer, agent, input, { lease_request }), (end) => {
    if (end.type !== "job.result") throw new Error(JSON.stringify(end.payload))
    return end.payload["result"] as any
  })

const accepted = (peer: Peer, jobId: string) =>
  peer.seen.find((frame) => frame.type === "job.accepted" && frame.job_id === jobId)!.payload["lease"]

const all = { "fs.read": ["/**"], "fs.write": ["/**"] }
const threads = () => readdirSync("/proc/self/task").filter((id) => id !== String(process.pid))

describe.runIf(process.platform === "linux")("§14 system folders on Linux", () => {
  const spellings = [
    "/proc/self/environ",
    "/proc/self/cmdline",
    "/proc/self/root/etc/passwd",
    "/proc/self/cwd/package.json",
    "/proc/thread-self/environ",
    `/proc/${process.pid}/environ`,
    `/proc/${process.pid}/task/${process.pid}/environ`,
    `/proc/${process.ppid}/environ`,
    "/proc/1/cmdline",
    "/proc/1/root/etc/passwd",
    "/proc/mounts",
    "/proc/net/dev",
    "/proc/cpuinfo",
    "/proc/../proc/./self//status",
    "//proc/self/status",
    "/dev/fd/0",
    "/dev/stdin",
    "/dev/stdout",
    "/dev/stderr",
    "/dev/null",
    "/dev/zero",
    "/dev/core",
    "/sys/kernel/mm/transparent_hugepage/enabled",
    "/etc/mtab",
    `${folder}/environ`,
    `${folder}/proc/self/environ`,
    `${folder}/fd/0`
  ]
  symlinkSync("/proc/self/environ", join(folder, "environ"))
  symlinkSync("/proc", join(folder, "proc"))
  symlinkSync("/dev/fd", join(folder, "fd"))

  it.scoped("§9.2 a lease of /** reads nothing in /proc, /sys and /dev, by any spelling or link", () =>
    Effect.gen(function* () {
      const peer = yield* hello()
      const [file, ...closed] = yield* result(peer, "read", [join(process.cwd(), "package.json"), ...spellings], all)
      expect(file).toBe(readFileSync("package.json", "utf8").length)
      expect(closed).toEqual(spellings.map(() => "PermissionDenied"))
    }).pipe(Effect.provide(under()))
  )

  it.scoped("§9.2 a lease that names the folder is granted without it, and reads nothing there either", () =>
    Effect.gen(function* () {
      const peer = yield* hello()
      const lease = { "fs.read": [...spellings.slice(0, 20), "/proc/**", "/dev/**", "/sys/**", "/PROC/**", "/tmp/**"] }
      const end = yield* run(peer, "read", spellings, {
        lease_request: { ...lease, "fs.read": lease["fs.read"].filter((p) => !p.includes("..")) }
      })
      expect(end.payload["result"]).toEqual(spellings.map(() => "PermissionDenied"))
      expect(accepted(peer, end.job_id!)).toEqual({ "fs.read": ["/tmp/**"] })
    }).pipe(Effect.provide(under()))
  )

  it.scoped("§9.2 every operation is closed there: to learn, to list, to write, to link, to copy", () =>
    Effect.gen(function* () {
      const peer = yield* hello()
      // Where nothing could be harmed.
      for (const path of ["/proc/self/oom_score_adj", `/proc/${process.pid}/comm`, "/proc/version", "/proc", "/sys"]) {
        const outcomes = yield* result(peer, "touch", path, all)
        expect([path, ...new Set(Object.values(outcomes))]).toEqual([path, "PermissionDenied"])
      }
    }).pipe(Effect.provide(under()))
  )

  it.scoped("§9.3 Job.authorize refuses them by capability and reason, and not what only looks like them", () =>
    Effect.gen(function* () {
      const peer = yield* hello()
      const targets = ["/proc", "/proc/cpuinfo", "/Proc/cpuinfo", "/PROC/self", "/dev/fd/3", "/sys/x", "/.vol/1/2"]
      for (const capability of ["fs.read", "fs.write"]) {
        expect(
          yield* result(
            peer,
            "authorize",
            targets.map((target) => [capability, target]),
            all
          )
        ).toEqual(targets.map(() => "PERMISSION_DENIED system_folder"))
      }
      const others = ["/process", "/procs/self", "/data/proc/self", "/system/x", "/devices", "/"]
      expect(
        yield* result(
          peer,
          "authorize",
          others.map((target) => ["fs.read", target]),
          all
        )
      ).toEqual(others)
      expect(yield* result(peer, "authorize", [["tool.call", "/proc/self"]], { "tool.call": ["**"] })).toEqual([
        "/proc/self"
      ])
    }).pipe(Effect.provide(under()))
  )

  it.scoped("§9.3 the refusal is a tool_call with its tool_result, as any other", () =>
    Effect.gen(function* () {
      const peer = yield* hello()
      const end = yield* run(peer, "authorize", [["fs.read", "/proc/cpuinfo"]], { lease_request: all })
      const told = eventsOf(peer, end.job_id!).map((frame) => frame.payload["body"])
      const refused = told.find((body) => body.error !== undefined)
      expect(refused.error).toMatchObject({
        code: "PERMISSION_DENIED",
        message: expect.stringContaining('"/proc/cpuinfo" is in a system folder'),
        details: { capability: "fs.read", reason: "system_folder" }
      })
    }).pipe(Effect.provide(under()))
  )

  it.scoped("§9 a policy that names a folder opens what it names, to leases that name it too", () =>
    Effect.gen(function* () {
      const peer = yield* hello()
      const paths = ["/proc/cpuinfo", "/proc/meminfo", "/proc/uptime"]
      const ask = (lease: object) =>
        Effect.map(
          run(
            peer,
            "authorize",
            paths.map((path) => ["fs.read", path]),
            { lease_request: lease }
          ),
          (end) => [
            accepted(peer, end.job_id!)["fs.read"],
            (end.payload["result"] as ReadonlyArray<string>).map((one) => one.startsWith("/"))
          ]
        )
      expect(yield* ask({ "fs.read": ["/proc/**"] })).toEqual([
        ["/proc/cpuinfo", "/proc/m*"],
        [true, true, false]
      ])
      expect(yield* ask({ "fs.read": ["/proc/cpuinfo", "/proc/uptime"] })).toEqual([
        ["/proc/cpuinfo"],
        [true, false, false]
      ])
      // Covered by the policy's wildcard: it stays as it is, and is still no name.
      expect(yield* ask({ "fs.read": ["/**"] })).toEqual([["/**"], [false, false, false]])
      expect(yield* ask({ "fs.read": ["/*/cpuinfo"] })).toEqual([["/*/cpuinfo"], [false, false, false]])
      const [info] = yield* result(peer, "read", ["/proc/cpuinfo"], { "fs.read": ["/proc/cpuinfo"] })
      expect(info).toBeGreaterThan(0)
      // For reading alone.
      expect(
        yield* result(peer, "authorize", [["fs.write", "/proc/cpuinfo"]], { "fs.write": ["/proc/cpuinfo"] })
      ).toEqual(["PERMISSION_DENIED pattern"])
    }).pipe(Effect.provide(under(allowing({ "fs.read": ["/**", "/proc/cpuinfo", "/proc/m*"], "fs.write": ["/**"] }))))
  )

  it.scoped("§9 a policy of wildcards opens none, however they are written", () =>
    Effect.gen(function* () {
      const peer = yield* hello()
      const lease = { "fs.read": ["/proc/**", "/dev/null", "/sys/**", "/**"] }
      expect(yield* result(peer, "read", spellings, lease)).toEqual(spellings.map(() => "PermissionDenied"))
    }).pipe(
      Effect.provide(
        under(allowing({ "fs.read": ["/**", "/*/**", "/p*/**", "/pro*/cpuinfo", "/proc*/**", "**", "/dev*/null"] }))
      )
    )
  )

  it.scoped("§14 no policy opens the runtime's own process: not by links to it, its number or its threads", () =>
    Effect.gen(function* () {
      const peer = yield* hello()
      const ids = [String(process.pid), ...threads()]
      expect(ids.length).toBeGreaterThan(1)
      const paths = [
        "/proc/self",
        "/proc/self/environ",
        "/proc/thread-self/environ",
        "/proc/mounts",
        "/proc/net/dev",
        "/dev/fd/0",
        "/dev/stdin",
        "/dev/stdout",
        "/dev/stderr",
        `${folder}/environ`,
        `${folder}/proc/self/environ`,
        `/proc/1/root/proc/self/environ`,
        ...ids.flatMap((id) => [`/proc/${id}`, `/proc/${id}/environ`, `/proc/${process.pid}/task/${id}/environ`])
      ]
      const lease = { "fs.read": ["/**", "/proc/**", "/dev/**", "/sys/**"] }
      expect(yield* result(peer, "read", paths, lease)).toEqual(paths.map(() => "PermissionDenied"))
      const targets = paths.filter((path) => /^\/(proc|dev)\//.test(path) && !path.includes(".."))
      expect(
        yield* result(
          peer,
          "authorize",
          targets.map((path) => ["fs.read", path]),
          lease
        )
      ).toEqual(targets.map(() => "PERMISSION_DENIED system_folder"))
      // What else is there is open.
      const [count] = yield* result(peer, "read", ["/proc/uptime"], lease)
      expect(count).toBeGreaterThan(0)
    }).pipe(Effect.provide(under(allowing({ "fs.read": ["/**", "/proc/**", "/dev/**", "/sys/**"] }))))
  )

  it.scoped("§9.4 a parent hands on only the names that its own lease opens", () =>
    Effect.gen(function* () {
      const peer = yield* hello()
      const parent = { "fs.read": ["/**", "/proc/cpuinfo"], "agent.delegate": ["authorize"] }
      const ask = (path: string, lease: WireLease) =>
        result(peer, "boss", { child: [["fs.read", path]], lease }, parent)
      expect(yield* ask("/proc/cpuinfo", { "fs.read": ["/proc/cpuinfo"] })).toEqual(["/proc/cpuinfo"])
      expect(yield* ask("/proc/cpuinfo", { "fs.read": ["/**"] })).toEqual(["PERMISSION_DENIED system_folder"])
      for (const wide of ["/proc/meminfo", "/proc/**", "/dev/null"]) {
        expect(yield* ask("/proc/meminfo", { "fs.read": [wide] })).toBe("LEASE_SUBSET_VIOLATION system_folder")
      }
    }).pipe(Effect.provide(under(allowing({ "fs.read": ["/**", "/proc/**"], "agent.delegate": ["**"] }))))
  )
})
