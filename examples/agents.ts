/**
 * The demo agents: small, real agents that show what an agent's author writes. `arcp serve --demo` hosts them.
 */
import * as FileSystem from "@effect/platform/FileSystem"
import * as HttpClient from "@effect/platform/HttpClient"
import * as Path from "@effect/platform/Path"
import { Agent, Job, Tool } from "effect-arcp/agent"
import { VendorError } from "effect-arcp/protocol"
import * as Data from "effect/Data"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { Ship, TooHeavy } from "./typed-client/contract.js"

export { Ship }

const Count = Schema.Int.pipe(Schema.between(0, 10_000_000, { description: "a whole number from 0 to 10000000" }))
const Millis = Schema.Number.pipe(Schema.between(0, 86_400_000, { description: "milliseconds, from 0 to a day" }))

/** Returns its input. */
export class Echo extends Agent.make("echo", { input: Schema.Unknown, output: Schema.Unknown }) {}

export const EchoLive = Echo.toLayer((input) => Effect.succeed(input))

/** Emits `count` events of one kind, `delay_ms` apart. */
export class Counter extends Agent.make("counter", {
  input: Schema.Struct({
    count: Count,
    kind: Schema.optionalWith(Schema.Literal("log", "progress", "metric"), { default: () => "log" as const }),
    delay_ms: Schema.optional(Millis)
  }),
  output: Schema.Struct({ count: Schema.Number })
}) {}

export const CounterLive = Counter.toLayer(({ count, delay_ms, kind }) =>
  Effect.gen(function* () {
    const job = yield* Job
    const emit = (n: number) =>
      kind === "log"
        ? job.log(`event ${n}`)
        : kind === "progress"
          ? job.progress({ current: n, total: count, units: "events" })
          : job.metric({ name: "counter.value", value: n, unit: "events" })
    for (let n = 1; n <= count; n++) {
      if (delay_ms !== undefined && n > 1) yield* Effect.sleep(delay_ms)
      yield* emit(n)
    }
    return { count }
  })
)

/** The bytes that the `stream` agent streams: the letters a to z, over and over. */
export const streamText = (from: number, length: number): string => {
  let out = ""
  for (let i = 0; i < length; i++) out += String.fromCharCode(97 + ((from + i) % 26))
  return out
}

/** Streams a result of `bytes` bytes that anybody can compute and compare. */
export class StreamBytes extends Agent.make("stream", {
  input: Schema.Struct({
    bytes: Schema.Int.pipe(Schema.between(0, 1_073_741_824, { description: "a whole number of bytes, at most 1 GiB" })),
    chunk_bytes: Schema.optionalWith(
      Schema.Int.pipe(Schema.between(1, 1_048_576, { description: "a whole number of bytes, at most 1 MiB" })),
      { default: () => 65_536 }
    ),
    encoding: Schema.optionalWith(Schema.Literal("utf8", "base64"), { default: () => "utf8" as const })
  }),
  output: Schema.String
}) {}

export const StreamBytesLive = StreamBytes.toLayer(({ bytes, chunk_bytes, encoding }) =>
  Job.streamResult(
    Stream.unfold(0, (at): Option.Option<readonly [string | Uint8Array, number]> => {
      if (at >= bytes) return Option.none()
      const text = streamText(at, Math.min(chunk_bytes, bytes - at))
      return Option.some([encoding === "utf8" ? text : new TextEncoder().encode(text), at + text.length])
    }),
    { encoding, summary: `${bytes} bytes` }
  )
)

/** Sleeps for `ms` milliseconds; logs when it is woken early. */
export class Sleep extends Agent.make("sleep", {
  input: Schema.Struct({ ms: Millis }),
  output: Schema.Struct({ slept_ms: Schema.Number })
}) {}

export const SleepLive = Sleep.toLayer(({ ms }) =>
  Effect.sleep(ms).pipe(
    Effect.as({ slept_ms: ms }),
    Effect.onInterrupt(() => Effect.ignore(Job.log("woken early")))
  )
)

/** Fails in the way that it is asked to. */
export class Fail extends Agent.make("fail", {
  input: Schema.Struct({ how: Schema.Literal("failure", "defect", "never") }),
  output: Schema.Null
}) {}

export const FailLive = Fail.toLayer(({ how }) =>
  how === "failure"
    ? Effect.fail(new VendorError({ code: "DEMO_FAILURE", message: "this agent was asked to fail" }))
    : how === "defect"
      ? Effect.dieMessage("this agent was asked to die")
      : Effect.never
)

/** Answers its own version: two of them are hosted. */
const versionsOptions = { input: Schema.Unknown, output: Schema.Struct({ version: Schema.String }) }

export class VersionsOne extends Agent.make("versions", { ...versionsOptions, version: "1.0.0" }) {}
export class VersionsTwo extends Agent.make("versions", { ...versionsOptions, version: "2.0.0" }) {}

export const VersionsLive = Layer.mergeAll(
  VersionsOne.toLayer(() => Effect.map(Job, (job) => ({ version: job.agent.version }))),
  VersionsTwo.toLayer(() => Effect.map(Job, (job) => ({ version: job.agent.version })), { default: true })
)

/** A census could not be taken. */
class CensusError extends Data.TaggedError("CensusError")<{ readonly message: string }> {}

/** What a census reports. */
export const CensusReport = Schema.Struct({
  root: Schema.String,
  files: Schema.Number,
  bytes: Schema.Number,
  lines: Schema.Number,
  by_extension: Schema.Record({
    key: Schema.String,
    value: Schema.Struct({ files: Schema.Number, bytes: Schema.Number, lines: Schema.Number })
  }),
  largest: Schema.Array(Schema.Struct({ path: Schema.String, bytes: Schema.Number }))
})
export type CensusReport = typeof CensusReport.Type

/**
 * Walks a directory and reports what is in it: progress per file, a log line per folder, metrics, and the report streamed
 * as JSON text. Folders that hold what tools made (`node_modules`, `.git`, `dist`) are left out.
 */
export class Census extends Agent.make("census", {
  input: Schema.Struct({ root: Schema.NonEmptyString }),
  output: Schema.parseJson(CensusReport)
}) {}

const leftOut = new Set(["node_modules", ".git", "dist", "coverage"])

export const CensusLive = Census.toLayer(({ root }) =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const path = yield* Path.Path
    const job = yield* Job
    const info = yield* Effect.mapError(fs.stat(root), (error) =>
      // a refusal keeps its own code
      error._tag === "SystemError" && error.reason === "PermissionDenied"
        ? error
        : new CensusError({ message: `${root} is not there or may not be read` })
    )
    if (info.type !== "Directory") return yield* new CensusError({ message: `${root} is not a directory` })

    const files: Array<{ readonly path: string; readonly bytes: number }> = []
    const walk = (folder: string): Effect.Effect<void, unknown> =>
      Effect.gen(function* () {
        const names = (yield* fs.readDirectory(folder)).filter((name) => !leftOut.has(name)).sort()
        let here = 0
        for (const name of names) {
          const file = path.join(folder, name)
          const stat = yield* Effect.option(fs.stat(file))
          if (stat._tag === "None") continue
          if (stat.value.type === "Directory") yield* walk(file)
          else if (stat.value.type === "File") {
            files.push({ path: file, bytes: Number(stat.value.size) })
            here++
          }
        }
        yield* job.log(`${path.relative(root, folder) || "."}: ${here} files`)
      })
    yield* job.status("walking", root)
    yield* walk(root)

    yield* job.status("reading", `${files.length} files`)
    const byExtension: Record<string, { files: number; bytes: number; lines: number }> = Object.create(null)
    let bytes = 0
    let lines = 0
    for (const [i, file] of files.entries()) {
      const content = yield* Effect.orElseSucceed(fs.readFile(file.path), () => new Uint8Array(0))
      let count = 0
      for (const byte of content) if (byte === 10) count++
      const extension = path.extname(file.path) || "(none)"
      const entry = (byExtension[extension] ??= { files: 0, bytes: 0, lines: 0 })
      entry.files++
      entry.bytes += content.length
      entry.lines += count
      bytes += content.length
      lines += count
      yield* job.progress({
        current: i + 1,
        total: files.length,
        units: "files",
        message: path.relative(root, file.path)
      })
    }
    yield* job.metric({ name: "census.files", value: files.length, unit: "files" })
    yield* job.metric({ name: "census.bytes", value: bytes, unit: "bytes" })
    yield* job.metric({ name: "census.lines", value: lines, unit: "lines" })

    const report: CensusReport = {
      root,
      files: files.length,
      bytes,
      lines,
      by_extension: byExtension,
      largest: files
        .sort((a, b) => b.bytes - a.bytes)
        .slice(0, 10)
        .map((file) => ({ path: path.relative(root, file.path), bytes: file.bytes }))
    }
    const text = yield* Schema.encode(Schema.parseJson(CensusReport, { space: 2 }))(report)
    return yield* job.streamResult(Stream.make(text), {
      summary: `${files.length} files, ${bytes} bytes, ${lines} lines`
    })
  })
)

/** Reads a file through the platform's `FileSystem`: the lease must cover it (`fs.read`). */
export class Read extends Agent.make("read", {
  input: Schema.Struct({ path: Schema.String }),
  output: Schema.Struct({ bytes: Schema.Number, text: Schema.String })
}) {}

export const ReadLive = Read.toLayer(({ path }) =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const text = yield* fs.readFileString(path)
    return { bytes: new TextEncoder().encode(text).length, text: text.slice(0, 65_536) }
  })
)

/** Fetches a URL through the platform's `HttpClient`: the lease must cover it and every redirect (`net.fetch`). */
export class Fetch extends Agent.make("fetch", {
  input: Schema.Struct({ url: Schema.String }),
  output: Schema.Struct({ status: Schema.Number, bytes: Schema.Number, text: Schema.String })
}) {}

export const FetchLive = Fetch.toLayer(({ url }) =>
  Effect.gen(function* () {
    const response = yield* HttpClient.get(url)
    const text = yield* response.text
    return { status: response.status, bytes: new TextEncoder().encode(text).length, text: text.slice(0, 65_536) }
  }).pipe(Effect.scoped)
)

/**
 * Reports charges one after another (`"USD:0.30"`), each behind a call of the tool of this name where one is given: a spent
 * budget refuses the next call.
 */
export class Spend extends Agent.make("spend", {
  input: Schema.Struct({ charges: Schema.Array(Schema.String), tool: Schema.optional(Schema.String) }),
  output: Schema.Struct({
    calls: Schema.Number,
    refused: Schema.Array(Schema.String),
    remaining: Schema.Record({ key: Schema.String, value: Schema.String })
  })
}) {}

export const SpendLive = Spend.toLayer(({ charges, tool }) =>
  Effect.gen(function* () {
    const job = yield* Job
    const refused: Array<string> = []
    let calls = 0
    for (const charge of charges) {
      if (tool !== undefined) {
        const called = yield* Effect.either(job.tool(tool, { charge }, Effect.succeed("done")))
        if (called._tag === "Left") {
          refused.push(called.left.code)
          continue
        }
        calls++
      }
      yield* job.spend(`cost.${tool ?? "demo"}`, charge)
    }
    return { calls, refused, remaining: yield* job.remaining }
  })
)

/** Says which model it would use, if the lease lets it (`model.use`). */
export class Model extends Agent.make("model", {
  input: Schema.Struct({ id: Schema.String }),
  output: Schema.Struct({ used: Schema.String })
}) {}

export const ModelLive = Model.toLayer(({ id }) => Job.model(id, Effect.succeed({ used: id })))

/** Delegates to another agent with a part of its own lease, and answers what that one answered (`agent.delegate`). */
export class Delegate extends Agent.make("delegate", {
  input: Schema.Struct({
    agent: Schema.String,
    input: Schema.optional(Schema.Unknown),
    lease_request: Schema.optional(Schema.Record({ key: Schema.String, value: Schema.Array(Schema.String) })),
    lease_constraints: Schema.optional(Schema.Struct({ expires_at: Schema.optional(Schema.String) }))
  }),
  output: Schema.Unknown
}) {}

export const DelegateLive = Delegate.toLayer(({ agent, input, lease_constraints, lease_request }) =>
  Job.delegate(agent, input, { lease: lease_request, expiresAt: lease_constraints?.expires_at })
)

/**
 * Writes a report, section by section: thoughts, statuses, a call of the tool `text.draft` and progress for each section, what it
 * cost, and the text as a streamed result. Its client must grant `tool.call` on `text.draft`.
 */
export class Report extends Agent.make("report", {
  input: Schema.Struct({
    topic: Schema.NonEmptyString,
    sections: Schema.Int.pipe(Schema.between(1, 100, { description: "a whole number from 1 to 100" })),
    delay_ms: Schema.optional(Millis)
  }),
  output: Schema.String
}) {}

export const ReportLive = Report.toLayer(({ delay_ms = 50, sections, topic }) =>
  Effect.gen(function* () {
    const job = yield* Job
    yield* job.thought(`${topic}: ${sections} sections should do`)
    const texts: Array<string> = []
    yield* job.status("writing")
    for (let n = 1; n <= sections; n++) {
      const draft = Effect.delay(Effect.succeed(`${n}. What there is to say of ${topic}, part ${n}.\n`), delay_ms)
      texts.push(yield* job.tool("text.draft", { topic, section: n }, draft))
      yield* job.progress({ current: n, total: sections, units: "sections" })
      yield* job.spend("cost.inference", "USD:0.02")
    }
    return yield* job.streamResult(Stream.fromIterable(texts), { summary: `${sections} sections on ${topic}` })
  })
)

/** Keeps a text as an artifact, and answers where. */
export class Artifact extends Agent.make("artifact", {
  input: Schema.Struct({ text: Schema.String }),
  output: Schema.Struct({ uri: Schema.String, sha256: Schema.String, byte_size: Schema.Number })
}) {}

export const ArtifactLive = Artifact.toLayer(({ text }) =>
  Effect.map(
    Job.artifact(new TextEncoder().encode(text), { contentType: "text/plain; charset=utf-8" }),
    ({ byteSize, sha256, uri }) => ({ uri, sha256, byte_size: byteSize })
  )
)

/** Packs parcels of at most 30 kg; the contract is shared with clients (`typed-client`). */
export const ShipLive = Ship.toLayer(({ leaves, parcels }) =>
  Effect.gen(function* () {
    for (const parcel of parcels) {
      if (parcel.kilos > 30) return yield* new TooHeavy({ ...parcel, limit: 30 })
      yield* Ship.emit("x-vendor.demo.packed", parcel)
    }
    return { arrives: DateTime.add(leaves, { days: 1 }) }
  })
)

/** Adds numbers. */
class Add extends Tool.make("calc.add", {
  input: Schema.Struct({ numbers: Schema.Array(Schema.Number) }),
  output: Schema.Number
}) {}

/** Divides a number, but not by zero. */
class Divide extends Tool.make("calc.divide", {
  input: Schema.Struct({ number: Schema.Number, by: Schema.Number }),
  output: Schema.Number
}) {}

/** The mean of some numbers, by the tools `calc.add` and `calc.divide` (`tool.call`). */
export class Mean extends Agent.make("mean", {
  input: Schema.Struct({ numbers: Schema.Array(Schema.Number) }),
  output: Schema.Struct({ mean: Schema.Number })
}) {}

/** The agent, and the tools that it calls. */
export const MeanLive = Layer.mergeAll(
  Add.toLayer(({ numbers }) => Effect.succeed(numbers.reduce((sum, number) => sum + number, 0))),
  Divide.toLayer(({ by, number }) =>
    by === 0
      ? Effect.fail(new VendorError({ code: "DIVISION_BY_ZERO", message: "nothing can be divided by zero" }))
      : Effect.succeed(number / by)
  ),
  Mean.toLayer(({ numbers }) =>
    Effect.gen(function* () {
      const number = yield* Add.call({ numbers })
      return { mean: yield* Divide.call({ number, by: numbers.length }) }
    })
  )
)

/** Tries doors, and opens those that its lease names: a capability, and an event, of a vendor's own. */
export class Doors extends Agent.make("doors", {
  input: Schema.Struct({ doors: Schema.Array(Schema.String) }),
  output: Schema.Struct({ opened: Schema.Array(Schema.String) }),
  events: { "x-vendor.demo.tried": Schema.Struct({ door: Schema.String, opened: Schema.Boolean }) }
}) {}

export const DoorsLive = Doors.toLayer(({ doors }) =>
  Effect.gen(function* () {
    const tried = yield* Effect.forEach(doors, (door) =>
      Effect.gen(function* () {
        const { _tag } = yield* Effect.either(Job.authorize("x-vendor.demo.door", door))
        yield* Doors.emit("x-vendor.demo.tried", { door, opened: _tag === "Right" })
        return { door, opened: _tag === "Right" }
      })
    )
    // of a kind that the contract does not declare
    yield* Job.event("x-vendor.demo.weather", { wind: "north" })
    return { opened: tried.filter(({ opened }) => opened).map(({ door }) => door) }
  })
)

/** All of them. They need a file system, paths and an HTTP client. */
export const DemoAgents = Layer.mergeAll(
  EchoLive,
  CounterLive,
  StreamBytesLive,
  SleepLive,
  FailLive,
  VersionsLive,
  CensusLive,
  ReadLive,
  FetchLive,
  SpendLive,
  ModelLive,
  DelegateLive,
  ReportLive,
  ArtifactLive,
  ShipLive,
  MeanLive,
  DoorsLive
)
