/**
 * The rules of the house that no ordinary linter knows: which room of `src` may import which, what may run in a browser, who
 * may need an optional peer, and what only a driver's edge may do. Pure: sources in, violations out. `check-rooms.ts` is the
 * program; the table below is the only place to change when a room or an entry is added.
 */
import { isBuiltin } from "node:module"
import ts from "typescript"
import { entriesOf, type Manifest, targetOf } from "./manifest.js"
import { moduleNamed, sourceNamed, walk } from "./syntax.js"

/** A file by its path from the repository's root, with forward slashes. */
export interface Source {
  readonly path: string
  readonly text: string
}

export interface Violation {
  readonly path: string
  readonly line: number
  readonly column: number
  readonly rule: string
  readonly message: string
}

interface Room {
  /** Rooms that it may import. */
  readonly uses: ReadonlyArray<string>
  /** `browser`: every file. `mixed`: what only its Node entries reach may use Node. `node`: anything. */
  readonly runs: "browser" | "mixed" | "node"
  /** The only packages that it may import; absent: every peer. */
  readonly packages?: ReadonlyArray<string>
}

const belowRuntime = ["protocol", "authority", "transport", "store", "auth", "agent"]

/**
 * The rooms within a room, from the ground up: each may import those before it, but not its neighbours on the same floor. The files
 * directly in such a room are its public side; those in its folders are closed to the other rooms. From outside, only the room around
 * them can be imported.
 */
const subRooms: Readonly<Record<string, ReadonlyArray<ReadonlyArray<string>>>> = {
  runtime: [["kernel"], ["log"], ["credentials", "artifacts"], ["jobs"], ["sessions"]]
}

const subRoomsOf = (room: string): ReadonlyArray<string> => (subRooms[room] ?? []).flat().map((sub) => `${room}/${sub}`)

const whole: Readonly<Record<string, Room>> = {
  protocol: { uses: [], runs: "browser", packages: ["effect"] },
  authority: { uses: ["protocol"], runs: "browser", packages: ["effect"] },
  transport: { uses: ["protocol"], runs: "mixed" },
  store: { uses: ["protocol"], runs: "node" },
  auth: { uses: ["protocol"], runs: "node" },
  agent: { uses: ["protocol", "authority"], runs: "node" },
  runtime: { uses: [...belowRuntime, ...subRoomsOf("runtime")], runs: "node" },
  client: { uses: ["protocol", "transport"], runs: "browser" },
  testing: { uses: [...belowRuntime, "runtime", "client"], runs: "node" },
  cli: { uses: [...belowRuntime, "runtime", "client", "testing"], runs: "node" }
}

const rooms: Readonly<Record<string, Room>> = {
  ...whole,
  ...Object.fromEntries(
    Object.entries(subRooms).flatMap(([room, floors]) =>
      floors.flatMap((floor, i) =>
        floor.map((sub) => {
          const below = floors.slice(0, i).flat()
          const outside = whole[room]!.uses.filter((used) => !used.startsWith(`${room}/`))
          return [`${room}/${sub}`, { ...whole[room]!, uses: [...outside, ...below.map((name) => `${room}/${name}`)] }]
        })
      )
    )
  )
}

/** Entries whose users have an optional peer. From every other entry it must be out of reach. */
const optionalPeers: Readonly<Record<string, ReadonlyArray<string>>> = {
  ws: ["transport/node", "transport/ws", "transport/platform"],
  "@effect/platform-node": ["agent/node", "transport/platform"],
  "@effect/experimental": ["store/sql", "store/sqlite"],
  "@effect/sql": ["store/sql", "store/sqlite"],
  "@effect/sql-sqlite-node": ["store/sqlite"],
  "@effect/cli": [],
  jose: ["auth/jwt"]
}

/** Files that load an optional peer by `import()` where it is installed, and do without it where it is not. */
const loadedIfInstalled: Readonly<Record<string, ReadonlyArray<string>>> = {
  "@effect/platform-node": ["src/runtime/jobs/handler/nodeDrivers.ts"]
}

const nodeOnlyPackages = new Set([
  "@effect/platform-node",
  "@effect/platform-node-shared",
  "@effect/sql-sqlite-node",
  "better-sqlite3",
  "ws"
])

interface Import {
  readonly specifier: string
  readonly node: ts.Node
  /** The path that a relative specifier means, `.js` turned into `.ts`. */
  readonly target: string | undefined
}

interface Parsed {
  readonly path: string
  readonly room: string
  readonly file: ts.SourceFile
  readonly lines: ReadonlyArray<string>
  readonly imports: ReadonlyArray<Import>
}

/** The room of a file, by the folder or the two folders of `src` that it lies in. */
const roomOf = (path: string): string => {
  const [, room = "", sub, file] = path.split("/")
  return file !== undefined && room in subRooms && sub !== "internal" ? `${room}/${sub}` : room
}

/** Whether a file is closed to other rooms. */
const isClosed = (path: string): boolean =>
  /\/internal\//.test(path) || (roomOf(path).includes("/") && path.split("/").length > 4)

const packageOf = (specifier: string): string =>
  specifier
    .split("/")
    .slice(0, specifier.startsWith("@") ? 2 : 1)
    .join("/")

const needsNode = (specifier: string): boolean => isBuiltin(specifier) || nodeOnlyPackages.has(packageOf(specifier))

const parse = (source: Source): Parsed => {
  const file = ts.createSourceFile(source.path, source.text, ts.ScriptTarget.Latest, true, ts.ScriptKind.TS)
  const imports: Array<Import> = []
  walk(file, (node) => {
    const named = moduleNamed(node)
    if (named === undefined || named === null || !ts.isStringLiteralLike(named)) return
    const specifier = named.text
    imports.push({ specifier, node, target: sourceNamed(source.path, specifier) })
  })
  return { path: source.path, room: roomOf(source.path), file, lines: source.text.split(/\r?\n/), imports }
}

const violation = (parsed: Parsed, node: ts.Node, rule: string, message: string): Violation => {
  const { line, character } = parsed.file.getLineAndCharacterOfPosition(node.getStart(parsed.file))
  return { path: parsed.path, line: line + 1, column: character + 1, rule, message }
}

/** How each file is first reached from a set of entries: the file before it, or undefined for an entry itself. */
const reach = (
  files: ReadonlyMap<string, Parsed>,
  entries: ReadonlyArray<string>
): ReadonlyMap<string, string | undefined> => {
  const from = new Map<string, string | undefined>(entries.map((entry) => [entry, undefined]))
  for (const path of from.keys()) {
    for (const { target } of files.get(path)?.imports ?? []) {
      if (target !== undefined && files.has(target) && !from.has(target)) from.set(target, path)
    }
  }
  return from
}

const chain = (from: ReadonlyMap<string, string | undefined>, path: string): string => {
  const steps: Array<string> = []
  for (let at: string | undefined = path; at !== undefined; at = from.get(at)) steps.unshift(at.replace(/^src\//, ""))
  return steps.join(" -> ")
}

const checkRoomImports = (parsed: Parsed, manifest: Manifest): ReadonlyArray<Violation> => {
  const found: Array<Violation> = []
  const room = rooms[parsed.room]
  if (room === undefined) return found
  for (const { node, specifier, target } of parsed.imports) {
    const report = (rule: string, message: string) => found.push(violation(parsed, node, rule, message))
    if (target !== undefined) {
      const other = roomOf(target)
      if (!target.startsWith("src/")) {
        report(
          "room-import",
          `"${specifier}" is outside src, which is all that is published. Move what it needs into a room.`
        )
      } else if (other === parsed.room) {
        continue
      } else if (!room.uses.includes(other)) {
        const may = room.uses.length === 0 ? "no other room" : room.uses.join(", ")
        report(
          "room-import",
          `${parsed.room} may not import ${other} (it may import ${may}). Move what both need into a room that both may import, or take it as a service.`
        )
      } else if (isClosed(target)) {
        report(
          "room-internal",
          `"${specifier}" is internal to ${other}. Use what ${other} exports, or have ${other} export it.`
        )
      }
      continue
    }
    const name = packageOf(specifier)
    if (name === manifest.name) {
      report(
        "room-import",
        `Inside src, import "${specifier}" by its relative path, so that the rule of rooms sees it.`
      )
    } else if (isBuiltin(specifier)) {
      if (!specifier.startsWith("node:")) report("node-prefix", `Write "node:${specifier}".`)
    } else if (room.packages !== undefined && !room.packages.includes(name)) {
      report("room-package", `${parsed.room} may import ${room.packages.join(", ")} only, not ${name}.`)
    } else if (!(name in (manifest.peerDependencies ?? {})) && !(name in (manifest.dependencies ?? {}))) {
      report("room-package", `${name} is no dependency and no peer of the package, so its users may not have it.`)
    } else if (specifier === "effect" || /^@effect\/[^/]+$/.test(specifier)) {
      report("barrel", `Import the module, not the barrel: import * as X from "${specifier}/X".`)
    }
  }
  for (const reference of parsed.file.typeReferenceDirectives) {
    const line = parsed.file.getLineAndCharacterOfPosition(reference.pos).line + 1
    const message = `No /// <reference types="${reference.fileName}" />: import the types that are meant.`
    found.push({ path: parsed.path, line, column: 1, rule: "reference", message })
  }
  return found
}

/** Names that a browser does not have, unless the file imports or declares them. */
const nodeGlobals = new Set(["Buffer", "process", "__dirname", "__filename", "require"])

const checkBrowser = (
  files: ReadonlyMap<string, Parsed>,
  entryPaths: ReadonlyArray<string>
): ReadonlyArray<Violation> => {
  const found: Array<Violation> = []
  const browserEntries = Object.keys(rooms)
    .filter((name) => rooms[name]?.runs !== "node")
    .map((name) => `src/${name}/index.ts`)
    .filter((path) => files.has(path))
  const fromBrowser = reach(files, browserEntries)
  const fromNode = reach(
    files,
    entryPaths.filter((path) => rooms[roomOf(path)]?.runs === "mixed" && !browserEntries.includes(path))
  )
  for (const parsed of files.values()) {
    const runs = rooms[parsed.room]?.runs ?? "node"
    const reached = fromBrowser.has(parsed.path)
    const inBrowser = reached || runs === "browser" || (runs === "mixed" && !fromNode.has(parsed.path))
    if (!inBrowser) continue
    const why = reached
      ? `a browser loads it by ${chain(fromBrowser, parsed.path)}`
      : `${parsed.room} runs in a browser${runs === "mixed" ? ", and no Node entry reaches this file" : ""}`
    for (const { node, specifier } of parsed.imports) {
      if (!needsNode(specifier)) continue
      const advice = "Use what every platform has, or move this behind an entry for Node."
      found.push(violation(parsed, node, "browser", `"${specifier}" is for Node only, and ${why}. ${advice}`))
    }
    for (const identifier of freeGlobals(parsed, nodeGlobals)) {
      if (isExcused(parsed, identifier)) continue
      const message = `${identifier.text} is a global of Node only, and ${why}. Use what every platform has.`
      found.push(violation(parsed, identifier, "browser", message))
    }
  }
  return found
}

const checkOptionalPeers = (
  files: ReadonlyMap<string, Parsed>,
  entries: ReadonlyMap<string, string>,
  manifest: Manifest
): ReadonlyArray<Violation> => {
  const found = new Map<ts.Node, Violation>()
  for (const [entry, path] of entries) {
    const from = reach(files, [path])
    for (const reached of from.keys()) {
      const parsed = files.get(reached)
      if (parsed === undefined) continue
      for (const { node, specifier } of parsed.imports) {
        const name = packageOf(specifier)
        if (manifest.peerDependenciesMeta?.[name]?.optional !== true || optionalPeers[name]?.includes(entry)) continue
        if (ts.isCallExpression(node) && loadedIfInstalled[name]?.includes(reached)) continue
        const message = `Users of ${manifest.name}/${entry} may lack the optional peer ${name}, which it loads by ${chain(from, reached)}. Move it behind an entry of its own.`
        found.set(node, violation(parsed, node, "optional-peer", message))
      }
    }
  }
  return [...found.values()]
}

/** A use of a name as a value: no property, no member of a type, no declaration, and no bare `typeof`. */
const isValueUse = (identifier: ts.Identifier): boolean => {
  const parent = identifier.parent
  if (ts.isPropertyAccessExpression(parent) && parent.name === identifier) {
    return ts.isIdentifier(parent.expression) && ["globalThis", "window", "self"].includes(parent.expression.text)
  }
  if (ts.isTypeOfExpression(parent) || ts.isTypeQueryNode(parent) || ts.isQualifiedName(parent)) return false
  if (ts.isShorthandPropertyAssignment(parent)) return true
  if (ts.isExportSpecifier(parent) || ts.isImportSpecifier(parent)) return false
  return !("name" in parent && parent.name === identifier) && !ts.isTypeReferenceNode(parent)
}

/** Uses of globals among `names`; a file that imports or declares the name means its own. */
const freeGlobals = (parsed: Parsed, names: ReadonlySet<string>): ReadonlyArray<ts.Identifier> => {
  const uses: Array<ts.Identifier> = []
  const own = new Set<string>()
  walk(parsed.file, (node) => {
    if (!ts.isIdentifier(node) || !names.has(node.text)) return
    const parent = node.parent
    const declares =
      (ts.isImportSpecifier(parent) ||
        ts.isImportClause(parent) ||
        ts.isNamespaceImport(parent) ||
        ts.isVariableDeclaration(parent) ||
        ts.isParameter(parent) ||
        ts.isBindingElement(parent) ||
        ts.isFunctionDeclaration(parent)) &&
      parent.name === node
    if (declares) own.add(node.text)
    else if (isValueUse(node)) uses.push(node)
  })
  return uses.filter((use) => !own.has(use.text))
}

const timers = new Set(["setTimeout", "setInterval", "setImmediate", "queueMicrotask"])

const globalCalls: Readonly<Record<string, string>> = {
  "Date.now": "Take the time from Clock",
  "performance.now": "Take the time from Clock",
  "Math.random": "Take it from Random, and ids from Ids"
}

/** What only a driver's edge does, and what to do instead. */
const edgeUse = (node: ts.Node): readonly [what: string, instead: string] | undefined => {
  if (ts.isPropertyAccessExpression(node) && ts.isIdentifier(node.expression)) {
    const what = `${node.expression.text}.${node.name.text}`
    const instead = globalCalls[what]
    if (instead !== undefined) return [what, instead]
  }
  if ((ts.isNewExpression(node) || ts.isCallExpression(node)) && ts.isIdentifier(node.expression)) {
    if (node.expression.text === "Date") return ["new Date()", "Take the time from Clock, and dates from DateTime"]
  }
  if (ts.isIdentifier(node) && timers.has(node.text) && isValueUse(node)) {
    return [node.text, "Use Effect.sleep, Schedule or Deadlines"]
  }
  if (ts.isThrowStatement(node)) return ["throw", "Fail with a typed error: Effect.fail, Either.left"]
  if (ts.isIdentifier(node) && node.text === "Promise" && (ts.isTypeReferenceNode(node.parent) || isValueUse(node))) {
    return ["Promise", "Use Effect, and Deferred where one waits for another"]
  }
  if (node.kind === ts.SyntaxKind.AsyncKeyword && ts.isFunctionLike(node.parent)) return ["async", "Use Effect.gen"]
  if (ts.isAwaitExpression(node) || (ts.isForOfStatement(node) && node.awaitModifier !== undefined)) {
    return ["await", "Use yield* in Effect.gen, or a Stream"]
  }
  if (node.kind === ts.SyntaxKind.AnyKeyword) return ["any", "Name the type, or take unknown and decode it"]
  return undefined
}

const edgeComment = /\/\/ edge: \S.{3,}/

/** The line, or the comment that stands right above it, says why: `// edge: why`. */
const lineIsExcused = (lines: ReadonlyArray<string>, line: number): boolean => {
  if (edgeComment.test(lines[line] ?? "")) return true
  for (let at = line - 1; at >= 0 && /^\s*\/\//.test(lines[at] ?? ""); at--) {
    if (edgeComment.test(lines[at] ?? "")) return true
  }
  return false
}

/** At the node's own line, or at the start of the innermost statement around it. */
const isExcused = (parsed: Parsed, node: ts.Node): boolean => {
  const lineOf = (at: ts.Node) => parsed.file.getLineAndCharacterOfPosition(at.getStart(parsed.file)).line
  if (lineIsExcused(parsed.lines, lineOf(node))) return true
  let statement = node
  while (!ts.isStatement(statement) && statement.parent !== undefined) statement = statement.parent
  return ts.isStatement(statement) && !ts.isBlock(statement) && lineIsExcused(parsed.lines, lineOf(statement))
}

const checkEdges = (parsed: Parsed): ReadonlyArray<Violation> => {
  const found: Array<Violation> = []
  walk(parsed.file, (node) => {
    const use = edgeUse(node)
    if (use === undefined || isExcused(parsed, node)) return
    const [what, instead] = use
    found.push(
      violation(
        parsed,
        node,
        "edge",
        `${what} is for a driver's edge. ${instead}; at an edge, write "// edge: why" above.`
      )
    )
  })
  walk(parsed.file, (node) => {
    const named = moduleNamed(node)
    if (named === undefined || (named !== null && ts.isStringLiteralLike(named)) || isExcused(parsed, node)) return
    const message = `The rules cannot see what this imports. Name the module, or write "// edge: why" above.`
    found.push(violation(parsed, node, "edge", message))
  })
  return found
}

/** Examples read like a user's code: by the package's name, from what it exports. */
const checkExample = (parsed: Parsed): ReadonlyArray<Violation> =>
  parsed.imports
    .filter(({ target }) => target !== undefined && !target.startsWith("examples/"))
    .map(({ node, specifier }) =>
      violation(parsed, node, "example", `Write "effect-arcp/..." in place of "${specifier}", as a user does.`)
    )

/**
 * Nobody leaves a test out or runs one alone: `it.effect.only` and the like, which linters for vitest do not see. A test
 * that a platform cannot run says so by `skipIf`.
 */
const checkTest = (parsed: Parsed): ReadonlyArray<Violation> => {
  const found: Array<Violation> = []
  walk(parsed.file, (node) => {
    if (!ts.isPropertyAccessExpression(node) || !["only", "skip", "todo", "fails"].includes(node.name.text)) return
    let root: ts.Expression = node.expression
    while (ts.isPropertyAccessExpression(root)) root = root.expression
    if (!ts.isIdentifier(root) || !["it", "test", "describe"].includes(root.text)) return
    const message = `${node.getText(parsed.file)} leaves tests out. Mend them, or say by skipIf where they cannot run.`
    found.push(violation(parsed, node, "test", message))
  })
  return found
}

/** The exports map, the folders of `src` and the type checker's `paths` name the same entries; every file system can hold them. */
export const checkPackage = (
  paths: ReadonlyArray<string>,
  manifest: Manifest,
  tsconfigPaths: Readonly<Record<string, ReadonlyArray<string>>>
): ReadonlyArray<Violation> => {
  const found: Array<Violation> = []
  const report = (path: string, message: string) => found.push({ path, line: 1, column: 1, rule: "entry", message })
  const entries = entriesOf(manifest)
  for (const [entry, source] of entries) {
    if (!paths.includes(source)) report("package.json", `"./${entry}" is exported, but there is no ${source}.`)
    if (targetOf(manifest.exports[`./${entry}`], "types") !== source.replace(/^src/, "./dist").replace(/ts$/, "d.ts")) {
      report("package.json", `"./${entry}" exports types that are not those of ${source}.`)
    }
    const mapped = tsconfigPaths[`${manifest.name}/${entry}`]
    if (mapped?.length !== 1 || mapped[0] !== `./${source}`) {
      report("tsconfig.json", `paths must say "${manifest.name}/${entry}": ["./${source}"], as the exports map does.`)
    }
  }
  for (const [name, target] of Object.entries(manifest.bin ?? {})) {
    const source = target.replace(/^\.\/dist/, "src").replace(/js$/, "ts")
    if (!paths.includes(source)) report("package.json", `The program ${name} is ${target}, but there is no ${source}.`)
  }
  for (const mapped of Object.keys(tsconfigPaths)) {
    if (!entries.has(mapped.replace(`${manifest.name}/`, ""))) {
      report("tsconfig.json", `paths names "${mapped}", which the package does not export.`)
    }
  }
  const byFolded = new Map<string, string>()
  for (const path of paths) {
    const twin = byFolded.get(path.toLowerCase())
    if (twin !== undefined)
      report(path, `It differs from ${twin} in case only, and many file systems hold one of them.`)
    byFolded.set(path.toLowerCase(), path)
  }
  for (const closed of ["./internal/*", "./*/internal/*"]) {
    if (manifest.exports[closed] !== null) report("package.json", `"${closed}": null must close internals off.`)
  }
  const folders = new Set(paths.filter((path) => path.startsWith("src/")).map(roomOf))
  for (const folder of folders) {
    if (!(folder in rooms)) report(`src/${folder}`, `${folder} is no room: enter it in the table of scripts/rooms.ts.`)
    else if (paths.includes(`src/${folder}/index.ts`) && !entries.has(folder)) {
      report("package.json", `The room ${folder} is not exported.`)
    }
  }
  for (const [name, meta] of Object.entries(manifest.peerDependenciesMeta ?? {})) {
    if (meta.optional === true && !(name in optionalPeers)) {
      report("package.json", `The optional peer ${name} has no entry: enter it in the table of scripts/rooms.ts.`)
    }
  }
  return found
}

/** Every rule over the sources under `src/`, `examples/` and `test/`. */
export const checkSources = (sources: ReadonlyArray<Source>, manifest: Manifest): ReadonlyArray<Violation> => {
  const parsed = sources.map(parse)
  const inSrc = new Map(parsed.filter(({ path }) => path.startsWith("src/")).map((file) => [file.path, file]))
  const entries = entriesOf(manifest)
  const found = [
    ...[...inSrc.values()].flatMap((file) => [...checkRoomImports(file, manifest), ...checkEdges(file)]),
    ...checkBrowser(inSrc, [...entries.values()]),
    ...checkOptionalPeers(inSrc, entries, manifest),
    ...parsed.filter(({ path }) => path.startsWith("examples/")).flatMap(checkExample),
    ...parsed.filter(({ path }) => path.startsWith("test/")).flatMap(checkTest)
  ]
  return found.toSorted((a, b) => a.path.localeCompare(b.path) || a.line - b.line || a.column - b.column)
}

export const format = ({ column, line, message, path, rule }: Violation): string =>
  `${path}:${line}:${column} ${rule}: ${message}`
