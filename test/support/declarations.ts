/** A package in memory, for the tests of what reads the public surface from its declarations or its sources. */
import ts from "typescript"
import type { Manifest } from "../../scripts/manifest.js"
import { surfaceOf, surfaceOptions } from "../../scripts/surface.js"

/** Where the package is. */
export const root = "/house/"

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

/** A program over files in memory, by their paths from the package. */
export const program = (files: Readonly<Record<string, string>>): ts.Program => {
  const options: ts.CompilerOptions = { ...surfaceOptions, lib: ["lib.es5.d.ts"], types: [] }
  const base = ts.createCompilerHost(options)
  const textOf = (name: string) =>
    name === `${root}package.json` ? '{ "type": "module" }' : files[name.slice(root.length)]
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
  return ts.createProgram(
    Object.keys(files).map((path) => root + path),
    options,
    host
  )
}

/** The surface of a package of declarations in memory, by their paths from `dist`. */
export const surface = (files: Readonly<Record<string, string>>) => {
  const built = Object.fromEntries(Object.entries(files).map(([path, text]) => [`dist/${path}`, text]))
  return surfaceOf(program(built), root, manifest)
}

/** Both entries, without a name. */
export const empty = { "rooms/index.d.ts": "export {}", "doors/index.d.ts": "export {}" }
