/** A package of declarations in memory, for the tests of what reads the public surface. */
import ts from "typescript"
import type { Manifest } from "../../scripts/manifest.js"
import { surfaceOf, surfaceOptions } from "../../scripts/surface.js"

const root = "/house/"

const entry = (path: string) => ({ types: `./dist/${path}.d.ts`, default: `./dist/${path}.js` })

/** A package of two entries. */
export const manifest: Manifest = {
  name: "house",
  exports: {
    "./package.json": "./package.json",
    "./internal/*": null,
    "./*/internal/*": null,
    "./rooms": entry("rooms/index"),
    "./doors": entry("doors/index")
  }
}

/** The surface of a package of declarations in memory, by their paths from `dist`. */
export const surface = (files: Readonly<Record<string, string>>) => {
  const options: ts.CompilerOptions = { ...surfaceOptions, lib: ["lib.es5.d.ts"], types: [] }
  const base = ts.createCompilerHost(options)
  const textOf = (name: string) =>
    name === `${root}package.json` ? '{ "type": "module" }' : files[name.slice(`${root}dist/`.length)]
  const isOurs = (name: string) => name.startsWith(root)
  const host: ts.CompilerHost = {
    ...base,
    getCurrentDirectory: () => root,
    directoryExists: () => true,
    realpath: (name) => name,
    fileExists: (name) => (isOurs(name) ? textOf(name) !== undefined : base.fileExists(name)),
    readFile: (name) => (isOurs(name) ? textOf(name) : base.readFile(name)),
    getSourceFile: (name, version) => {
      const text = isOurs(name) ? textOf(name) : undefined
      return text === undefined ? base.getSourceFile(name, version) : ts.createSourceFile(name, text, version, true)
    }
  }
  const paths = Object.keys(files).map((path) => `${root}dist/${path}`)
  return surfaceOf(ts.createProgram(paths, options, host), root, manifest)
}

/** Both entries, without a name. */
export const empty = { "rooms/index.d.ts": "export {}", "doors/index.d.ts": "export {}" }
