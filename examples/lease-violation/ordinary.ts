/**
 * Ordinary code: it reads files and fetches pages with the services of `@effect/platform`, and knows nothing of agents, jobs or
 * leases. Run by itself it may do whatever its process may; `main.ts` runs it as an agent.
 */
import { FileSystem, HttpClient } from "@effect/platform"
import { Effect } from "effect"

/** The first line of a file or of a page. */
const firstLine = (source: string) =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const text = source.startsWith("http")
      ? yield* HttpClient.get(source).pipe(
          Effect.flatMap((response) => response.text),
          Effect.scoped
        )
      : yield* fs.readFileString(source)
    return text.split("\n")[0] ?? ""
  })

/** What each source begins with, or why that cannot be said; the whole goes into a file. */
export const digest = (sources: ReadonlyArray<string>, target: string) =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const lines = yield* Effect.forEach(sources, (source) =>
      firstLine(source).pipe(
        Effect.map((line) => `${source}: ${line}`),
        Effect.catchAll((error) =>
          Effect.succeed(`${source}: cannot be read (${error._tag === "SystemError" ? error.reason : error._tag})`)
        )
      )
    )
    yield* fs.writeFileString(target, lines.join("\n"))
    return lines.length
  })
