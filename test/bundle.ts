/** Programs that tests start as processes, each in a file: they load ten times as fast as their many sources. */
import { mkdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { buildSync } from "esbuild"
import { entriesOf, type Manifest } from "../scripts/manifest.js"
import { scratch } from "./support/scratch.js"

const root = fileURLToPath(new URL("../", import.meta.url))
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as Manifest

/** Bundles programs (their places in the repository, by their places in the answer's folder); code that they share stays one. */
export const bundle = (programs: Readonly<Record<string, string>>): string => {
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
    // The package by its own name is its sources, whatever an earlier build has left.
    alias: Object.fromEntries(
      [...entriesOf(manifest)].map(([entry, source]) => [`${manifest.name}/${entry}`, join(root, source)])
    ),
    // What is native, or loads what is, stays where it is.
    external: ["better-sqlite3", "bufferutil", "utf-8-validate"],
    banner: { js: `import{createRequire}from"node:module";const require=createRequire(import.meta.url);` }
  })
  return folder
}
