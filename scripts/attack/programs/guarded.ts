/**
 * A runtime whose agents use the guarded services as ordinary code does: single operations by name, operations in a loop while
 * the tree changes under them, and fibers that outlive their job.
 */
import * as FileSystem from "@effect/platform/FileSystem"
import * as HttpClient from "@effect/platform/HttpClient"
import { Agent, Job, Tool } from "effect-arcp/agent"
import { Authenticator } from "effect-arcp/auth"
import { Lease } from "effect-arcp/authority"
import { LeasePolicy, Limits } from "effect-arcp/runtime"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { type Platform, say, serve } from "./common.js"

const [mode = "granting"] = process.argv.slice(2)

/** One operation: its name and its arguments. */
interface Operation {
  readonly op: string
  readonly path: string
  readonly to?: string
  readonly length?: number
}

const encode = (text: string) => new TextEncoder().encode(text)

/** The operations of the guarded services, by name. */
const operate = ({ length = 64, op, path, to = "" }: Operation) =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    switch (op) {
      case "readFile":
        return (yield* fs.readFileString(path)).slice(0, length)
      case "readDirectory":
        return (yield* fs.readDirectory(path)).join(" ")
      case "open":
        return yield* Effect.scoped(
          Effect.flatMap(fs.open(path), (file) =>
            Effect.map(file.readAlloc(length), (bytes) => (bytes._tag === "Some" ? bytes.value.length : 0))
          )
        )
      case "stream":
        return yield* Stream.runFold(fs.stream(path), 0, (sum, chunk) => sum + chunk.length)
      case "stat":
        return String((yield* fs.stat(path)).size)
      case "exists":
        return yield* fs.exists(path)
      case "readLink":
        return yield* fs.readLink(path)
      case "writeFile":
        return yield* fs.writeFileString(path, "WRITTEN")
      case "sink":
        return yield* Stream.run(Stream.make(encode("WRITTEN")), fs.sink(path))
      case "truncate":
        return yield* fs.truncate(path, 0)
      case "chmod":
        return yield* fs.chmod(path, 0o777)
      case "utimes":
        return yield* fs.utimes(path, 1, 1)
      case "makeDirectory":
        return yield* fs.makeDirectory(path, { recursive: true })
      case "remove":
        return yield* fs.remove(path, { recursive: true })
      case "copyFile":
        return yield* fs.copyFile(path, to)
      case "copy":
        return yield* fs.copy(path, to)
      case "rename":
        return yield* fs.rename(path, to)
      case "link":
        return yield* fs.link(path, to)
      case "symlink":
        return yield* fs.symlink(to, path)
      case "makeTempFile":
        return yield* fs.makeTempFile({ directory: path })
      case "authorize":
        return yield* Job.authorize("fs.read", path)
      case "get":
        return yield* Effect.scoped(Effect.flatMap(HttpClient.get(path), (answer) => answer.text))
      default:
        return yield* Effect.dieMessage(`no such operation: ${op}`)
    }
  })

/** What came of it: `ok` with a text, or `no` with the reason. */
const outcome = <R>(effect: Effect.Effect<unknown, unknown, R>): Effect.Effect<string, never, R> =>
  Effect.map(Effect.exit(effect), (exit) =>
    Exit.isSuccess(exit) ? `ok ${String(exit.value)}` : `no ${String(Cause.squash(exit.cause)).slice(0, 160)}`
  )

/** Operations one after the other; each outcome. */
const does = (input: unknown) => Effect.forEach(input as ReadonlyArray<Operation>, (one) => outcome(operate(one)))

/** Operations in turn until the time is over. `#` in a path is the round's number. How often each succeeded, and what was read. */
const loops = (input: unknown) =>
  Effect.gen(function* () {
    const { millis, ops } = input as { readonly ops: ReadonlyArray<Operation>; readonly millis: number }
    const end = performance.now() + millis
    const read: Record<string, number> = {}
    let done = 0
    let refused = 0
    for (let round = 0; performance.now() < end; round++) {
      for (const one of ops) {
        const numbered = (text: string | undefined) => text?.replaceAll("#", String(round))
        const answer = yield* Effect.either(
          operate({ ...one, path: numbered(one.path)!, ...(one.to === undefined ? {} : { to: numbered(one.to)! }) })
        )
        if (Either.isLeft(answer)) refused++
        else {
          done++
          if (typeof answer.right === "string") read[answer.right] = (read[answer.right] ?? 0) + 1
        }
      }
    }
    return { done, refused, read }
  })

/** Two sequences of guarded operations side by side: a job that races itself. */
const races = (input: unknown) =>
  Effect.gen(function* () {
    const { first, second } = input as {
      readonly first: ReadonlyArray<Operation>
      readonly second: ReadonlyArray<Operation>
    }
    return yield* Effect.all([does(first), does(second)], { concurrency: 2 })
  })

class Tick extends Tool.make("tick", { input: Schema.Unknown, output: Schema.String }) {}

interface Leaving {
  readonly read: string
  readonly write: string
  readonly url: string
  readonly millis: number
}

/** Everything that a job may do, tried again and again, with what it reaches reported. */
const lingers = (name: string, { millis, read, url, write }: Leaving, once: Effect.Effect<unknown> = Effect.void) =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const job = yield* Job
    const reader = yield* fs.open(read)
    const writer = yield* fs.open(write, { flag: "a" })
    const tries: Readonly<Record<string, Effect.Effect<unknown, unknown, Platform | Job>>> = {
      readFile: fs.readFile(read),
      writeFile: fs.writeFileString(`${write}.new`, "late"),
      stat: fs.stat(read),
      "an open file's read": Effect.zipRight(reader.seek(0, "start"), reader.readAlloc(4)),
      "an open file's write": writer.write(encode("late")),
      "an open file's truncate": writer.truncate(0),
      stream: Stream.runDrain(fs.stream(read)),
      fetch: Effect.scoped(HttpClient.get(url)),
      authorize: job.authorize("fs.read", read),
      model: job.model("m", Effect.void),
      tool: job.tool("t", null, Effect.void),
      "a hosted tool": job.callTool("tick", null),
      reserve: job.reserve("USD:0.01", Effect.void),
      child: job.startChild("does", [])
    }
    const end = performance.now() + millis
    for (let round = 0; performance.now() < end; round++) {
      for (const [what, effect] of Object.entries(tries)) {
        const exit = yield* Effect.exit(Effect.timeout(effect, 500))
        say("tried", { name, round, what, ok: Exit.isSuccess(exit), at: yield* Clock.currentTimeMillis })
      }
      yield* once
      yield* Effect.sleep(50)
    }
    say("lingered", { name })
  })

/** Its daemon goes on after it has returned. */
const leaves = (input: unknown) =>
  Effect.gen(function* () {
    const tried = yield* Deferred.make<void>()
    yield* Effect.forkDaemon(Effect.scoped(lingers("daemon", input as Leaving, Deferred.succeed(tried, undefined))))
    yield* Deferred.await(tried)
    return "left"
  })

/** It does not unwind when it is cancelled. */
const stays = (input: unknown) =>
  Effect.as(Effect.uninterruptible(Effect.scoped(lingers("handler", input as Leaving))), "stayed")

/** Spends its budget, then uses what it has opened before. */
const spends = (input: unknown) =>
  Effect.scoped(
    Effect.gen(function* () {
      const { read, write } = input as Leaving
      const fs = yield* FileSystem.FileSystem
      const reader = yield* fs.open(read)
      const writer = yield* fs.open(write, { flag: "a" })
      yield* Job.spend("cost.all", "1 USD")
      return {
        "a new read": yield* outcome(fs.readFile(read)),
        "an open file's read": yield* outcome(reader.readAlloc(4)),
        "an open file's write": yield* outcome(writer.write(encode("late")))
      }
    })
  )

const widest = Schema.decodeSync(Lease.LeaseFromWire)({
  "fs.read": ["/**", "/dev/**", "/proc/**", "/sys/**"],
  "fs.write": ["/**", "/dev/**"],
  "net.fetch": ["http://**", "https://**"],
  "tool.call": ["**"],
  "model.use": ["**"],
  "agent.delegate": ["**"]
})

/** Everything that it can name: what is special must be refused for what it is, not for its name. */
const granting = LeasePolicy.layer({
  allowed: () => widest
})

const limits = Limits.layer({ cancelGrace: 300 })

serve({
  agents: Layer.mergeAll(
    Agent.untyped("does", does),
    Agent.untyped("loops", loops),
    Agent.untyped("races", races),
    Agent.untyped("leaves", leaves),
    Agent.untyped("stays", stays),
    Agent.untyped("spends", spends),
    Tick.toLayer(() => Effect.succeed("tick"))
  ),
  ...(mode === "anonymous" ? { auth: Authenticator.layerAnonymous } : {}),
  settings: mode === "granting" ? Layer.merge(limits, granting) : limits
})
