/** Programs that tests start as processes, each in a file: they load ten times as fast as their many sources. */
import { mkdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { buildSync, type Metafile } from "esbuild"
import { entriesOf, type Manifest } from "../scripts/manifest.js"
import { scratch } from "./support/scratch.js"

const root = fileURLToPath(new URL("../", import.meta.url))
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as Manifest

// The package by its own name is its sources, whatever an earlier build has left.
const sources = Object.fromEntries(
  [...entriesOf(manifest)].map(([entry, source]) => [`${manifest.name}/${entry}`, join(root, source)])
)

/** Bundles a program's text for a browser; a module that a browser does not have fails the build. `minify`: as it would be served. */
export const bundleForBrowser = (
  program: string,
  format: "esm" | "iife" = "esm",
  minify = false
): {
  readonly text: string
  readonly inputs: Metafile["inputs"]
  /** The inputs of which something is left in the text. */
  readonly used: ReadonlyArray<string>
} => {
  const { metafile, outputFiles } = buildSync({
    absWorkingDir: root,
    stdin: { contents: program, resolveDir: root, loader: "ts" },
    bundle: true,
    write: false,
    metafile: true,
    platform: "browser",
    format,
    minify,
    logLevel: "silent",
    alias: sources
  })
  const used = Object.values(metafile.outputs).flatMap(({ inputs }) =>
    Object.entries(inputs).flatMap(([input, { bytesInOutput }]) => (bytesInOutput > 0 ? [input] : []))
  )
  return { text: outputFiles[0]!.text, inputs: metafile.inputs, used }
}

/**
 * Bundles programs (their places in the repository, by their places in the answer's folder); code that they share stays one. `external`
 * packages are imported when the program runs.
 */
export const bundle = (programs: Readonly<Record<string, string>>, external: ReadonlyArray<string> = []): string => {
  // Where what is not bundled is found.
  const cache = join(root, "node_modules/.cache")
  mkdirSync(cache, { recursive: true })
  const folder = scratch("arcp-test-", cache)
  buildSync({
    absWorkingDir: root,
    entryPoints: programs,
    outdir: folder,
    bundle: true,
    splitting: true,
    platform: "node",
    format: "esm",
    logLevel: "error",
    alias: sources,
    // What is native, or loads what is, stays where it is.
    external: ["better-sqlite3", "bufferutil", "utf-8-validate", ...external],
    banner: { js: `import{createRequire}from"node:module";const require=createRequire(import.meta.url);` }
  })
  return folder
}
