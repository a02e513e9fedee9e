/**
 * The public surface of the built package: what each entry of the exports map exports, and which of the package's own types those
 * declarations refer to. Read from the declarations in `dist`, as a user's compiler reads them.
 *
 * Responsibility: the rule that every public type stands by itself. A user can name what a public declaration refers to, each name
 * is documented, and nothing public is declared in a folder that the exports map closes.
 */
import ts from "typescript"
import { type Manifest, targetOf } from "./manifest.js"

/** A name that an entry exports. */
export interface PublicName {
  /** As in the exports map, without "./": `transport/node`. */
  readonly entry: string
  /** As a user writes it; behind a namespace with dots: `Lease.parse`. */
  readonly name: string
  readonly symbol: ts.Symbol
  /** What the entry itself says: `export { ... }`, `export * as Name`. */
  readonly exported: ts.Symbol
  /** Set for `export * as Name`: what is in it has names of its own in the list. */
  readonly isNamespace: boolean
}

export type SurfaceRule = "missing-entry" | "broken" | "not-nameable" | "internal" | "undocumented"

export interface SurfaceViolation {
  readonly rule: SurfaceRule
  readonly entry: string
  /** The exported name. */
  readonly name: string
  /** Where the reference, or for `undocumented` the declaration, is: relative to the package's root. */
  readonly path: string
  readonly line: number
  /** The name that a user cannot import; else empty. */
  readonly refersTo: string
  readonly message: string
}

/** The built package as its users see it. */
export interface Surface {
  readonly checker: ts.TypeChecker
  readonly root: string
  readonly manifest: Manifest
  /** Every entry, sorted, with its names, sorted. */
  readonly entries: ReadonlyMap<string, ReadonlyArray<PublicName>>
  /** Entries whose declarations are not there. */
  readonly missing: ReadonlyArray<string>
  /** Declarations that refer to what is not there, as where a public one mentions one that is marked as internal. */
  readonly broken: ReadonlyArray<{ readonly path: string; readonly line: number; readonly message: string }>
}

/** Entry name to the path of its declarations, from the root. */
export const typesOf = (manifest: Manifest): ReadonlyMap<string, string> => {
  const found = new Map<string, string>()
  for (const key of Object.keys(manifest.exports).sort()) {
    const types = targetOf(manifest.exports[key], "types")
    if (types !== undefined) found.set(key.replace(/^\.\//, ""), types.replace(/^\.\//, ""))
  }
  return found
}

/** Options for declarations alone: nothing is emitted, and only what is asked for is checked. */
export const surfaceOptions: ts.CompilerOptions = {
  target: ts.ScriptTarget.ES2022,
  lib: ["lib.es2023.d.ts", "lib.dom.d.ts", "lib.dom.iterable.d.ts"],
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
  strict: true,
  skipLibCheck: false,
  noEmit: true
}

const resolved = (checker: ts.TypeChecker, symbol: ts.Symbol): ts.Symbol =>
  (symbol.flags & ts.SymbolFlags.Alias) === 0 ? symbol : checker.getAliasedSymbol(symbol)

const isModule = (symbol: ts.Symbol): boolean => symbol.declarations?.some(ts.isSourceFile) === true

/** Reads the surface. `root` ends with a slash; the program holds the declarations of every entry. */
export const surfaceOf = (program: ts.Program, root: string, manifest: Manifest): Surface => {
  const checker = program.getTypeChecker()
  const entries = new Map<string, ReadonlyArray<PublicName>>()
  const missing: Array<string> = []
  for (const [entry, path] of typesOf(manifest)) {
    const file = program.getSourceFile(root + path)
    const module = file === undefined ? undefined : checker.getSymbolAtLocation(file)
    if (module === undefined) {
      missing.push(entry)
      continue
    }
    const names: Array<PublicName> = []
    const collect = (of: ts.Symbol, prefix: string, within: ReadonlySet<ts.Symbol>): void => {
      for (const exported of checker.getExportsOfModule(of)) {
        const symbol = resolved(checker, exported)
        const name = prefix + exported.name
        const isNamespace = isModule(symbol)
        names.push({ entry, name, symbol, exported, isNamespace })
        if (isNamespace && !within.has(symbol)) collect(symbol, `${name}.`, new Set([...within, symbol]))
      }
    }
    collect(module, "", new Set([module]))
    entries.set(
      entry,
      names.sort((a, b) => (a.name < b.name ? -1 : 1))
    )
  }
  const broken = program
    .getSourceFiles()
    .filter(({ fileName }) => fileName.startsWith(`${root}dist/`))
    .flatMap((file) => program.getSemanticDiagnostics(file).map((diagnostic) => ({ file, diagnostic })))
    .map(({ diagnostic, file }) => ({
      path: file.fileName.slice(root.length),
      line: file.getLineAndCharacterOfPosition(diagnostic.start ?? 0).line + 1,
      message: ts.flattenDiagnosticMessageText(diagnostic.messageText, " ")
    }))
  return { checker, root, manifest, entries, missing, broken }
}

/** The identifiers in a declaration that name a type, a class or a value's type; a qualified name counts by each of its parts. */
const references = (node: ts.Node, visit: (name: ts.Identifier) => void): void => {
  const parts = (name: ts.EntityName | ts.Expression): void => {
    if (ts.isIdentifier(name)) visit(name)
    else if (ts.isQualifiedName(name)) {
      parts(name.left)
      visit(name.right)
    } else if (ts.isPropertyAccessExpression(name)) {
      parts(name.expression)
      if (ts.isIdentifier(name.name)) visit(name.name)
    }
  }
  const each = (at: ts.Node): void => {
    if (ts.isTypeReferenceNode(at)) parts(at.typeName)
    else if (ts.isExpressionWithTypeArguments(at)) parts(at.expression)
    else if (ts.isTypeQueryNode(at)) parts(at.exprName)
    else if (ts.isImportTypeNode(at) && at.qualifier !== undefined) parts(at.qualifier)
    else if (ts.isComputedPropertyName(at)) parts(at.expression)
    ts.forEachChild(at, each)
  }
  each(node)
}

/** Patterns of the exports map that close folders off, for paths of the package. */
const closedBy = (manifest: Manifest): ReadonlyArray<RegExp> =>
  Object.entries(manifest.exports)
    .filter(([, target]) => target === null)
    .map(([key]) => {
      const [before, ...after] = key.replace(/^\.\//, "").split("*")
      // A star of a pattern matches folders in between, too.
      return new RegExp(`^dist/${[before, ...after].join(".*")}`)
    })

/** What TypeScript writes for the expression behind `extends`: a constant that no program names. */
const isBaseOfClass = (declaration: ts.Node, name: ts.Identifier): boolean =>
  ts.isVariableDeclaration(declaration) &&
  ts.isExpressionWithTypeArguments(name.parent) &&
  ts.isHeritageClause(name.parent.parent)

/** The type that a declaration only gives another name. */
export const renamed = (declaration: ts.Declaration): ts.EntityName | undefined =>
  ts.isTypeAliasDeclaration(declaration) &&
  declaration.typeParameters === undefined &&
  ts.isTypeReferenceNode(declaration.type) &&
  declaration.type.typeArguments === undefined
    ? declaration.type.typeName
    : undefined

const documented = (name: PublicName): boolean =>
  [...(name.symbol.declarations ?? []), ...(name.exported.declarations ?? [])].some((declaration) => {
    // The head of a file documents the namespace that the file is; so does a comment at its export, as the compiler drops some heads.
    if (ts.isSourceFile(declaration)) return /^\s*\/\*\*/.test(declaration.text)
    const isPart = ts.isVariableDeclaration(declaration) || ts.isNamespaceExport(declaration)
    const holder = ts.isVariableDeclaration(declaration) ? declaration.parent.parent : declaration.parent
    return ts.getJSDocCommentsAndTags(isPart ? holder : declaration).length > 0
  })

/** Every rule over the surface of a built package. */
export const checkSurface = (surface: Surface): ReadonlyArray<SurfaceViolation> => {
  const { broken, checker, entries, manifest, missing, root } = surface
  const closed = closedBy(manifest)
  const nameable = new Set([...entries.values()].flat().map(({ symbol }) => symbol))
  // `export type A = B` is a name of B too, where it is nothing else than B.
  for (const { declarations } of [...nameable]) {
    for (const declaration of declarations ?? []) {
      const named = renamed(declaration)
      const symbol = named === undefined ? undefined : checker.getSymbolAtLocation(named)
      if (symbol !== undefined) nameable.add(resolved(checker, symbol))
    }
  }
  const inPackage = (symbol: ts.Symbol): ReadonlyArray<ts.Declaration> =>
    (symbol.declarations ?? []).filter((declaration) => declaration.getSourceFile().fileName.startsWith(`${root}dist/`))
  const pathOf = (node: ts.Node): string => node.getSourceFile().fileName.slice(root.length)
  const lineOf = (node: ts.Node): number =>
    node.getSourceFile().getLineAndCharacterOfPosition(node.getStart(node.getSourceFile())).line + 1

  const found = new Map<string, SurfaceViolation>()
  const report = (rule: SurfaceRule, of: PublicName, at: ts.Node, refersTo: string, message: string): void => {
    const key = [rule, of.entry, of.name, refersTo].join("\n")
    if (found.has(key)) return
    found.set(key, { rule, entry: of.entry, name: of.name, path: pathOf(at), line: lineOf(at), refersTo, message })
  }

  const checkName = (of: PublicName): void => {
    const seen = new Set<ts.Symbol>()
    const reads = (declaration: ts.Declaration): void =>
      references(declaration, (identifier) => {
        const at = checker.getSymbolAtLocation(identifier)
        if (at === undefined) return
        const symbol = resolved(checker, at)
        if (seen.has(symbol)) return
        seen.add(symbol)
        const own = inPackage(symbol)
        // A module has no name of its own; members and parameters are inside a declaration that has one.
        const top = own.filter((declaration) => {
          const holder = ts.isVariableDeclaration(declaration) ? declaration.parent.parent : declaration
          return ts.isSourceFile(holder.parent ?? holder) && !ts.isSourceFile(holder)
        })
        const [first] = top
        if (first === undefined) return
        const isInternal = closed.some((pattern) => pattern.test(pathOf(first)))
        if (isInternal) {
          const advice = `Move ${symbol.name} to a module that is not internal, and export it from an entry; or do not mention it.`
          report("internal", of, identifier, symbol.name, `${symbol.name} is declared in ${pathOf(first)}. ${advice}`)
        } else if (!nameable.has(symbol) && !isBaseOfClass(first, identifier)) {
          const advice = "Export it from an entry, or write the type without it."
          const message = `No entry exports ${symbol.name} (${pathOf(first)}:${lineOf(first)}). ${advice}`
          report("not-nameable", of, identifier, symbol.name, message)
        }
        // What has a public name is checked under that name.
        if (!nameable.has(symbol)) for (const declaration of top) reads(declaration)
      })
    for (const declaration of inPackage(of.symbol)) if (!ts.isSourceFile(declaration)) reads(declaration)
    const [first] = inPackage(of.symbol)
    if (first === undefined) return
    if (!of.isNamespace && closed.some((pattern) => pattern.test(pathOf(first)))) {
      const message = `It is declared in ${pathOf(first)}. Move it to a module that is not internal.`
      report("internal", of, first, "", message)
    }
    if (!documented(of)) report("undocumented", of, first, "", "Write a docstring for it.")
  }

  for (const names of entries.values()) for (const name of names) checkName(name)
  const absent = missing.map((entry): SurfaceViolation => {
    const path = typesOf(manifest).get(entry) ?? ""
    const message = "Its declarations are missing, or are no module. Build the package first: npm run build."
    return { rule: "missing-entry", entry, name: "", path, line: 1, refersTo: "", message }
  })
  const unsound = broken.map(({ line, message, path }): SurfaceViolation => {
    const advice = "Is a name of it marked as @internal, which the build leaves out? Then do not mention it."
    return { rule: "broken", entry: "", name: "", path, line, refersTo: "", message: `${message} ${advice}` }
  })
  return [...absent, ...unsound, ...found.values()]
}

/** One line: where, which rule, which name of which entry, and what to do. */
export const formatViolation = (manifest: Manifest, violation: SurfaceViolation): string => {
  const { entry, line, message, name, path, rule } = violation
  const place = entry === "" ? "" : `${manifest.name}/${entry}${name === "" ? "" : ` ${name}`}: `
  return `${path}:${line} ${rule}: ${place}${message}`
}

/** A program over the declarations of every entry of the package at `root`, which ends with a slash. */
export const programOf = (root: string, manifest: Manifest): ts.Program =>
  ts.createProgram(
    [...typesOf(manifest).values()].map((path) => root + path),
    { ...surfaceOptions, types: [] }
  )
