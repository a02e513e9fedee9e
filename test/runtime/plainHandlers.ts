/** Handlers as somebody writes them who has never heard of leases: the platform's services, and no import of this package. */
import { Command, FileSystem, HttpClient } from "@effect/platform"
import { Effect } from "effect"

/** Reads a file. */
export const read = (path: string) => Effect.flatMap(FileSystem.FileSystem, (fs) => fs.readFileString(path))

/** Writes a file. */
export const write = (path: string) =>
  Effect.flatMap(FileSystem.FileSystem, (fs) => Effect.as(fs.writeFileString(path, "written"), "written"))

/** What a directory and everything below it holds. */
export const list = (path: string) =>
  Effect.flatMap(FileSystem.FileSystem, (fs) => fs.readDirectory(path, { recursive: true }))

/** Copies a tree. */
export const copy = (from: string, to: string) =>
  Effect.flatMap(FileSystem.FileSystem, (fs) => Effect.as(fs.copy(from, to), "copied"))

/** Makes a link and reads what it leads to. */
export const readThroughLink = (target: string, path: string) =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    yield* fs.symlink(target, path)
    return yield* fs.readFileString(path)
  })

/** Fetches a page. */
export const fetchText = (url: string) =>
  HttpClient.get(url).pipe(
    Effect.flatMap((response) => response.text),
    Effect.scoped
  )

/** Posts to a page, again and again as long as that looks worth while. */
export const postRetrying = (url: string) =>
  Effect.flatMap(HttpClient.HttpClient, (client) =>
    client.pipe(HttpClient.filterStatusOk, HttpClient.retryTransient({ times: 3 })).post(url)
  ).pipe(
    Effect.flatMap((response) => response.text),
    Effect.scoped
  )

/** Starts a process. */
export const start = (program: string, argument: string) => Command.string(Command.make(program, argument))

/** Goes on where it may not read. */
export const readIfPossible = (path: string) =>
  Effect.catchTag(read(path), "SystemError", (error) => Effect.succeed(`cannot: ${error.reason}`))
