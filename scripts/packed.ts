/** What a packed file of this package must hold, and what it must not. */
import { posix } from "node:path"
import { entriesOf, type Manifest, targetOf } from "./manifest.js"

/** What is at the root of the package; nothing else is. `CONFORMANCE.md` only where the repository has it. */
const roots: ReadonlySet<string> = new Set([
  "package.json",
  "README.md",
  "CHANGELOG.md",
  "CONFORMANCE.md",
  "SECURITY.md",
  "LICENSE-MIT",
  "LICENSE-APACHE",
  "dist",
  "src",
  "docs",
  "examples"
])

/** Files that do not belong in a package, wherever they are. */
const stray =
  /(^|\/)(\.[^/]*|node_modules|test|tests|bench|fixtures)(\/|$)|\.(test|bench)\.[jt]s|\.(tsbuildinfo|db|tgz|cpuprofile)$/

const rootOf = (path: string): string => path.split("/")[0] ?? path

/** Files of the repository that belong in the package: those of its root and of its folders, but for the build. */
export const belongs = (path: string): boolean => roots.has(rootOf(path)) && !path.startsWith("dist/")

/** The built files of a source. */
const builtOf = (source: string): ReadonlyArray<string> => {
  const base = source.replace(/^src\//, "dist/").replace(/\.ts$/, "")
  return [".js", ".js.map", ".d.ts", ".d.ts.map"].map((end) => base + end)
}

interface SourceMap {
  readonly sourceRoot?: string
  readonly sources: ReadonlyArray<string>
}

/** Sources that a source map of the package names and that are not in the package. */
const unresolved = (path: string, text: string, packed: ReadonlySet<string>): ReadonlyArray<string> => {
  const { sourceRoot = "", sources } = JSON.parse(text) as SourceMap
  return sources
    .map((source) => posix.join(posix.dirname(path), sourceRoot, source))
    .filter((source) => !packed.has(source))
    .map((source) => `${path} names ${source}, which is not in the package`)
}

/**
 * What is wrong with these files. `repository`: the files of the repository, by the same paths; `read` returns the text of a packed file.
 */
export const problemsOf = (
  manifest: Manifest,
  packed: ReadonlyArray<string>,
  repository: ReadonlyArray<string>,
  read: (path: string) => string
): ReadonlyArray<string> => {
  const inside = new Set(packed)
  const sources = repository.filter((path) => path.startsWith("src/") && path.endsWith(".ts"))
  const required = [
    ...repository.filter(belongs),
    ...sources.flatMap(builtOf),
    ...[...entriesOf(manifest).keys()].flatMap((entry) =>
      ["types", "default"].map(
        (condition) => targetOf(manifest.exports[`./${entry}`], condition) ?? `no ${condition} of ${entry}`
      )
    ),
    ...Object.values(manifest.bin ?? {})
  ].map((path) => posix.normalize(path))
  return [
    ...[...new Set(required)].filter((path) => !inside.has(path)).map((path) => `${path} is not in the package`),
    ...packed
      .filter((path) => stray.test(path) || !roots.has(rootOf(path)))
      .map((path) => `${path} must not be in the package`),
    // Of modules that have gone: an old build.
    ...packed
      .filter((path) => /^dist\/(?!examples\/).*\.js$/.test(path))
      .map((path) => path.replace(/^dist\//, "src/").replace(/\.js$/, ".ts"))
      .filter((source) => !inside.has(source))
      .map((source) => `${source} is not in the package, but is built`),
    ...packed.filter((path) => path.endsWith(".map")).flatMap((path) => unresolved(path, read(path), inside))
  ]
}
