/**
 * Breaks the rule of an example in a copy of the build, and runs the example on it: it must fail.
 *
 * A program is bundled before it runs, since to load the build and Effect module by module takes ten times as long as the program. Three
 * things keep a bundle the same program. Effect's packages are bundled once, apart from the examples, so that there is one copy of each
 * module. Other packages are loaded from where they are installed. And the bundles lie where the sources lie in the copy, beside the
 * copied build with the broken rule, for an example that reads its own files.
 */
import {
  cpSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { basename, dirname, join, relative } from "node:path"
import { pathToFileURL } from "node:url"
import { type BuildFailure, type BuildOptions, build, context, type OutputFile, type Plugin } from "esbuild"
import { type Example, run } from "./programs.js"
import type { Broken } from "./rules.js"

/** What lies in a repository of examples. */
export interface Sources {
  /** Where `package.json`, `dist` and `examples` are. */
  readonly root: string
  /** Where the packages are that the examples and the build import. */
  readonly modules: string
  readonly examples: ReadonlyArray<Example>
}

/** Runs examples without their rules. `close` deletes the copies. */
export interface Breaking {
  /** Why a rule is not shown to be kept by its example; undefined: it is. `alsoWhole`: the example must also pass while the rule holds. */
  readonly problemOf: (broken: Broken, alsoWhole: boolean) => Promise<string | undefined>
  readonly close: () => void
}

const common = {
  bundle: true,
  splitting: true,
  platform: "node",
  format: "esm",
  target: "node20",
  // what Node resolves: without a list, esbuild adds a condition of its own
  conditions: [],
  tsconfigRaw: {},
  logLevel: "silent"
} satisfies BuildOptions

/**
 * Effect's packages, and the one of many small modules that they load. Not the module whose names are those of another package: a bundle
 * of several programs does not hand on the names of what it does not contain.
 */
const isBundled = (name: string): boolean =>
  /^(effect|@effect\/[^/]+|fast-check|pure-rand)(\/|$)/.test(name) && name !== "@effect/platform-node/Undici"

/**
 * Decides of each import by a package's name where it leads: to a file's URL, to the package's own text in the bundle (undefined), or to
 * what Node finds.
 */
const packages = (leads: (name: string) => { readonly url: string } | "bundled" | "installed"): Plugin => ({
  name: "packages",
  setup: (builder) => {
    builder.onResolve({ filter: /^[^./]/ }, async ({ kind, path, pluginData, resolveDir }) => {
      if (kind === "entry-point" || pluginData === "installed") return undefined
      const target = leads(path)
      if (target === "bundled") return undefined
      if (target !== "installed") return { path: target.url, external: true }
      const found = await builder.resolve(path, { kind, resolveDir, pluginData: "installed" })
      // an optional package that is not there fails when it is loaded, as it does without a bundle
      if (found.external || found.errors.length > 0) return { path, external: true }
      return { path: pathToFileURL(found.path).href, external: true }
    })
  }
})

/** How a program names one that it starts as it was started itself; bundled, that one is JavaScript. */
const startsChild = /(process\.execArgv, fileURLToPath\(new URL\("[^"]+)\.ts"/g

/** How a program names another file beside it that is a program: one that it starts, or bundles itself. */
const besideIt = /new URL\("([^"]+\.ts)", import\.meta\.url\)/g

const programsOf = (folder: string, { file }: Example): ReadonlyArray<string> => {
  const own = dirname(file)
  const beside = [...readFileSync(join(folder, file), "utf8").matchAll(besideIt)].map(([, name]) => `${own}/${name}`)
  return [file, ...beside.filter((program) => existsSync(join(folder, program)))]
}

/** What a run prints whose program, or a module of it, could not be loaded: it proves nothing. */
const notLoaded = /\bSyntaxError\b|\bERR_(MODULE_NOT_FOUND|UNKNOWN_FILE_EXTENSION|PACKAGE_PATH_NOT_EXPORTED)\b/

/** Replaces a file that may be a link to one of another copy. */
const replace = (path: string, text: string): void => {
  rmSync(path)
  writeFileSync(path, text)
}

const textOf = (files: ReadonlyArray<OutputFile>): string =>
  files.map(({ path, text }) => `${path}\n${text}`).join("\n")

/**
 * Prepares copies of a repository's examples: Effect's packages, bundled for all of them. The examples and the build are read when a rule
 * is broken.
 */
export const breaking = async ({ examples, modules, root }: Sources): Promise<Breaking> => {
  const base = realpathSync(mkdtempSync(join(tmpdir(), "arcp-examples-")))
  const { name: own } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { readonly name: string }
  const isOwn = (name: string): boolean => name === own || name.startsWith(`${own}/`)
  const close = (): void => rmSync(base, { recursive: true, force: true })

  /** The examples beside the package as it is published. From their folder the packages of `base` are found. */
  const sources = join(base, "sources")
  const inSources: Array<string> = []
  const copySources = (): void => {
    const place = `node_modules/${own}`
    cpSync(join(root, "package.json"), join(sources, place, "package.json"))
    cpSync(join(root, "dist"), join(sources, place, "dist"), { recursive: true })
    cpSync(join(root, "examples"), join(sources, "examples"), { recursive: true })
    for (const entry of readdirSync(sources, { recursive: true, withFileTypes: true })) {
      const path = join(entry.parentPath, entry.name)
      // without types and maps: nothing that runs reads them
      if (entry.isFile() && !/\.(d\.ts|map)$/.test(path)) inSources.push(relative(sources, path))
    }
  }

  /** The same in a folder of its own, as links: a file is replaced there, and not written. */
  const copy = (name: string): string => {
    const folder = join(base, name)
    for (const parent of new Set(inSources.map((path) => dirname(path)))) {
      mkdirSync(join(folder, parent), { recursive: true })
    }
    for (const path of inSources) linkSync(join(sources, path), join(folder, path))
    return folder
  }

  /** Bundles Effect's packages as the programs in a folder import them: where each module is. */
  const bundlePackages = async (folder: string): Promise<ReadonlyMap<string, string>> => {
    const names = new Set<string>()
    const collect = packages((name) => {
      if (isOwn(name)) return "bundled"
      if (!isBundled(name)) return "installed"
      names.add(name)
      return { url: name }
    })
    const entryPoints = examples.flatMap((example) => programsOf(folder, example))
    await build({ ...common, absWorkingDir: folder, entryPoints, outdir: "out", write: false, plugins: [collect] })
    const outdir = join(base, "packages")
    const places = new Map([...names].map((name, index) => [name, `${basename(name)}-${index}`]))
    await build({
      ...common,
      absWorkingDir: base,
      entryPoints: Object.fromEntries([...places].map(([name, place]) => [place, name])),
      outdir,
      plugins: [packages((name) => (isBundled(name) ? "bundled" : "installed"))]
    })
    return new Map([...places].map(([name, place]) => [name, pathToFileURL(join(outdir, `${place}.js`)).href]))
  }

  const prepare = async (): Promise<ReadonlyMap<string, string>> => {
    mkdirSync(join(base, "node_modules"))
    for (const entry of readdirSync(modules)) {
      if (!entry.startsWith(".") && entry !== own) symlinkSync(join(modules, entry), join(base, "node_modules", entry))
    }
    writeFileSync(join(base, "package.json"), JSON.stringify({ private: true, type: "module" }))
    copySources()
    return bundlePackages(sources)
  }
  const places = await prepare().catch((cause: unknown) => {
    close()
    throw cause
  })

  const bundling = (folder: string, programs: ReadonlyArray<string>) => {
    const leads = (name: string) => {
      const url = places.get(name)
      if (url !== undefined) return { url }
      return isOwn(name) ? "bundled" : "installed"
    }
    return context({
      ...common,
      absWorkingDir: folder,
      entryPoints: [...programs],
      outbase: ".",
      outdir: ".",
      write: false,
      plugins: [packages(leads)]
    })
  }

  const { ARCP_TOKEN: _token, ARCP_URL: _url, ...env } = process.env
  const runIn = (folder: string, { file }: Example, files: ReadonlyArray<OutputFile>) => {
    for (const { contents, path } of files) {
      mkdirSync(dirname(path), { recursive: true })
      writeFileSync(path, contents)
    }
    return run(folder, file.replace(/\.ts$/, ".js"), env, [])
  }

  const inCopy = async (
    folder: string,
    example: Example,
    { file, from, rule, to }: Broken,
    alsoWhole: boolean
  ): Promise<string | undefined> => {
    const place = join(folder, "node_modules", own, file)
    const text = existsSync(place) ? readFileSync(place, "utf8") : ""
    if (text.split(from).length !== 2) return `${file} does not have this exactly once: ${from}`
    const programs = programsOf(folder, example)
    for (const program of programs) {
      const source = readFileSync(join(folder, program), "utf8")
      replace(join(folder, program), source.replace(startsChild, '$1.js"'))
    }
    const bundle = await bundling(folder, programs)
    try {
      const whole = (await bundle.rebuild()).outputFiles
      if (alsoWhole) {
        const ran = await runIn(folder, example, whole)
        if (ran.code !== 0) return `fails before the rule is broken:\n${ran.output}`
      }
      const broken = text.replace(from, () => to)
      replace(place, broken)
      const files = await bundle.rebuild().then(
        ({ outputFiles }) => outputFiles,
        ({ message }: BuildFailure) => message
      )
      if (typeof files === "string") return `is no program any more:\n${files}`
      // All but the rule is the same: bundles that do not differ do not have it.
      if (textOf(files) === textOf(whole)) return `does not have ${file} with the rule broken in its bundle`
      const ran = await runIn(folder, example, files)
      if (ran.signal !== null) return `does not end without the rule:\n${ran.output}`
      if (ran.code === 0) return `PASSES without the rule: ${rule}`
      return notLoaded.test(ran.output) ? `is no program any more:\n${ran.output}` : undefined
    } finally {
      await bundle.dispose()
    }
  }

  const problemOf = async (broken: Broken, alsoWhole: boolean): Promise<string | undefined> => {
    const example = examples.find(({ name }) => name === broken.example)
    if (example === undefined) return "there is no such example"
    const folder = copy(example.name)
    try {
      return await inCopy(folder, example, broken, alsoWhole)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  }
  return { problemOf, close }
}
