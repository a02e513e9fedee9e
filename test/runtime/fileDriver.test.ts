import { execFileSync } from "node:child_process"
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { FileSystem } from "@effect/platform"
import { NodeContext, NodeFileSystem } from "@effect/platform-node"
import { describe, expect, it } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { Agent } from "../../src/agent/index.js"
import { nodeDrivers } from "../../src/runtime/jobs/handler/nodeDrivers.js"
import { gateOf } from "../agent/gates.js"
import { isLinux, temporaryRoot } from "../agent/trees.js"
import { hello, run } from "./peer.js"
import { world } from "./world.js"

/** Node's file system as an author has changed it. */
const wrapped = Layer.map(NodeFileSystem.layer, (context) => {
  const own = Context.get(context, FileSystem.FileSystem)
  return Context.make(FileSystem.FileSystem, { ...own, open: (path, options) => own.open(path, options) })
})

/** How a file is opened shows which guard opened it: the driver's descriptors wait for nothing (O_NONBLOCK). */
const agents = Agent.untyped("flags", (input) =>
  Effect.gen(function* () {
    const { path } = input as { readonly path: string }
    const fs = yield* FileSystem.FileSystem
    const file = yield* fs.open(path)
    const flags = /flags:\s*(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${file.fd}`, "utf8"))
    return { waits: (Number.parseInt(flags?.[1] ?? "0", 8) & 0o4000) === 0, text: yield* fs.readFileString(path) }
  }).pipe(Effect.scoped)
)

describe.skipIf(!isLinux)("§9.3 on Linux", () => {
  it.scopedLive("Node's own file system is recognised in every instance, and no other is", () =>
    Effect.gen(function* () {
      const { fileSystem } = yield* nodeDrivers
      const own = yield* FileSystem.FileSystem.pipe(Effect.provide(NodeFileSystem.layer))
      const again = yield* FileSystem.FileSystem.pipe(Effect.provide(Layer.fresh(NodeContext.layer)))
      const gate = gateOf({ "fs.read": ["/**"] })
      expect(own).not.toBe(again)
      expect(fileSystem?.(own, gate)).toBeDefined()
      expect(fileSystem?.(again, gate)).toBeDefined()
      for (const method of ["open", "readFile", "stat", "rename", "copyFile", "realPath", "writeFile"] as const) {
        const other: FileSystem.FileSystem = { ...own, [method]: (path: string) => own.access(path) }
        expect(fileSystem?.(other, gate), method).toBeUndefined()
      }
      expect(fileSystem?.(FileSystem.makeNoop({}), gate)).toBeUndefined()
    })
  )

  for (const [what, platform, waits] of [
    ["uses the driver for Node's file system, without being asked", NodeContext.layer, false],
    ["keeps a file system of the author's own", wrapped, true]
  ] as const) {
    it.scopedLive(`a runtime ${what}`, () =>
      Effect.gen(function* () {
        const root = yield* temporaryRoot
        mkdirSync(join(root, "in"))
        writeFileSync(join(root, "in/a"), "alpha")
        symlinkSync("a", join(root, "in/to-a"))
        execFileSync("mkfifo", [join(root, "in/pipe")])
        const peer = yield* hello()
        const lease_request = { "fs.read": [`${root}/in/**`] }
        const end = yield* run(peer, "flags", { path: join(root, "in/to-a") }, { lease_request })
        expect(end.payload.result).toEqual({ waits, text: "alpha" })
        const refused = yield* run(peer, "flags", { path: join(root, "in/pipe") }, { lease_request })
        expect(refused.payload).toMatchObject({ final_status: "error", code: "PERMISSION_DENIED" })
      }).pipe(Effect.provide(world({ agents: agents.pipe(Layer.provide(platform)) })))
    )
  }
})
