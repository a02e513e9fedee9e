/**
 * The docstrings of the public surface, read from the sources of the entries of the exports map. Pure: a program in, findings out.
 * `docs-check.ts` is the program.
 *
 * Responsibility: whatever a user can import says what it is, since which version it is there and where the reference lists it, and
 * every member that a user reads or writes (of a service, an options record, a class) says what it is. There is no list of exceptions:
 * a name that needs no words is marked `@internal`, or is not exported.
 */
import ts from "typescript"
import { entriesOf, type Manifest } from "./manifest.js"
import { renamed } from "./surface.js"

/** Where the reference lists an export: the only values of `@category`. */
export const categories = [
  "combinators",
  "constants",
  "constructors",
  "decoding",
  "encoding",
  "errors",
  "functions",
  "laws",
  "layers",
  "metrics",
  "models",
  "modules",
  "options",
  "predicates",
  "references",
  "schemas",
  "services",
  "types"
] as const

export type DocsRule =
  | "missing-entry"
  | "undocumented"
  | "empty"
  | "no-since"
  | "no-category"
  | "unknown-category"
  | "undocumented-member"

export interface DocsFinding {
  readonly rule: DocsRule
  /** The first entry, in the order of the exports map, that exports the name. */
  readonly entry: string
  /** As a user writes it: `Lease.parse`; for a member with its holder: `HostOptions.default`. */
  readonly name: string
  /** From the root. */
  readonly path: string
  readonly line: number
  readonly message: string
}

/** What was checked, and what was found. */
export interface DocsReport {
  readonly entries: number
  readonly exports: number
  readonly members: number
  readonly findings: ReadonlyArray<DocsFinding>
}

/** The node that carries the docstring of a declaration. */
const holderOf = (declaration: ts.Declaration): ts.Node => {
  if (ts.isVariableDeclaration(declaration)) return declaration.parent.parent
  return ts.isNamespaceExport(declaration) ? declaration.parent : declaration
}

/** The docstring directly before a node; what comes before that one is the head of the file. */
const docOf = (node: ts.Node): ts.JSDoc | undefined => ts.getJSDocCommentsAndTags(node).filter(ts.isJSDoc).at(-1)

const hasWords = (comment: ts.JSDoc["comment"]): boolean =>
  /[\p{L}\p{N}]/u.test(ts.getTextOfJSDocComment(comment) ?? "")

const tagged = (doc: ts.JSDoc, name: string): ReadonlyArray<string> =>
  (doc.tags ?? [])
    .filter(({ tagName }) => tagName.text === name)
    .map(({ comment }) => (ts.getTextOfJSDocComment(comment) ?? "").trim())

const isInternal = (node: ts.Node): boolean => {
  const doc = docOf(node)
  return doc !== undefined && tagged(doc, "internal").length > 0
}

/** What is wrong with the docstring of an export: each fault, with what to do. */
const faultsOf = (doc: ts.JSDoc | undefined): ReadonlyArray<readonly [DocsRule, string]> => {
  if (doc === undefined)
    return [["undocumented", "Write a docstring for it: what it is, its units, what fails and how."]]
  const found: Array<readonly [DocsRule, string]> = []
  if (!hasWords(doc.comment)) found.push(["empty", "Its docstring has tags only. Say what it is."])
  const since = tagged(doc, "since")
  if (since.length !== 1 || !/^\d+\.\d+\.\d+$/.test(since[0]!)) {
    found.push([
      "no-since",
      "Its docstring needs one @since with the version that had it first, for example: @since 0.1.0"
    ])
  }
  const named = tagged(doc, "category")
  const known: ReadonlyArray<string> = categories
  if (named.length !== 1 || named[0] === "") {
    found.push(["no-category", `Its docstring needs one @category: ${known.join(", ")}`])
  } else if (!known.includes(named[0]!)) {
    found.push(["unknown-category", `@category ${named[0]} is not one of: ${known.join(", ")}`])
  }
  return found
}

const isMember = (node: ts.Node): node is ts.NamedDeclaration & { readonly name: ts.PropertyName } =>
  (ts.isPropertySignature(node) ||
    ts.isMethodSignature(node) ||
    ts.isPropertyDeclaration(node) ||
    ts.isMethodDeclaration(node) ||
    ts.isGetAccessorDeclaration(node)) &&
  node.name !== undefined

/** Not for users: private ones, and those that begin with an underscore (what tells the members of a union apart). */
const isHidden = (member: ts.NamedDeclaration & { readonly name: ts.PropertyName }): boolean => {
  const closed = ts.ModifierFlags.Private | ts.ModifierFlags.Protected
  return (
    (ts.getCombinedModifierFlags(member) & closed) !== 0 ||
    ts.isPrivateIdentifier(member.name) ||
    ts.isComputedPropertyName(member.name) ||
    member.name.text.startsWith("_") ||
    isInternal(member)
  )
}

/** Whether a member begins its line: a record on one line is described by the docstring before that line. */
const beginsLine = (member: ts.Node): boolean => {
  const file = member.getSourceFile()
  const start = member.getStart(file)
  return file.text.slice(file.text.lastIndexOf("\n", start) + 1, start).trim() === ""
}

/** The members that the type of a declaration writes out, those of records inside it included; bodies and initial values are not types. */
const membersOf = (
  declaration: ts.Declaration,
  visit: (member: ts.NamedDeclaration & { readonly name: ts.PropertyName }, path: ReadonlyArray<string>) => void
): void => {
  const each = (at: ts.Node, path: ReadonlyArray<string>): void => {
    if (ts.isBlock(at) || ts.isJSDoc(at)) return
    if (isMember(at)) {
      if (isHidden(at) || !beginsLine(at)) return
      const own = [...path, at.name.getText()]
      visit(at, own)
      if ("type" in at && at.type !== undefined) each(at.type as ts.Node, own)
      if ("parameters" in at) for (const parameter of at.parameters as ReadonlyArray<ts.Node>) each(parameter, own)
      return
    }
    ts.forEachChild(at, (child) => each(child, path))
  }
  if (ts.isVariableDeclaration(declaration)) {
    const { initializer, type } = declaration
    if (type !== undefined) each(type, [])
    else if (initializer !== undefined && ts.isFunctionLike(initializer)) {
      for (const parameter of initializer.parameters) each(parameter, [])
    }
    return
  }
  ts.forEachChild(declaration, (child) => each(child, []))
}

/** Every error has them, and their names say all. */
const ofEveryError: ReadonlySet<string> = new Set(["message", "cause"])

/** The fields that the call behind `extends` gives a class: `class A extends Schema.TaggedError<A>()("A", { field: ... })`. */
const fieldsOf = (checker: ts.TypeChecker, declaration: ts.Declaration): ReadonlyArray<ts.PropertyAssignment> => {
  const symbol = ts.isClassDeclaration(declaration) && declaration.name && checker.getSymbolAtLocation(declaration.name)
  if (!ts.isClassDeclaration(declaration) || !symbol) return []
  const type = checker.getDeclaredTypeOfSymbol(symbol)
  const calls = (declaration.heritageClauses ?? []).flatMap(({ types }) => types.map(({ expression }) => expression))
  return calls
    .filter(ts.isCallExpression)
    .flatMap((call) => call.arguments.filter(ts.isObjectLiteralExpression))
    .flatMap(({ properties }) => properties.filter(ts.isPropertyAssignment))
    .filter((field) => {
      const name = field.name.getText()
      return type.getProperty(name) !== undefined && !ofEveryError.has(name) && beginsLine(field)
    })
}

/** The functions that a constant record gathers: `export const Connection = { fromStreams }`. */
const gathered = (declaration: ts.Declaration): ReadonlyArray<ts.ShorthandPropertyAssignment> =>
  ts.isVariableDeclaration(declaration) &&
  declaration.initializer !== undefined &&
  ts.isObjectLiteralExpression(declaration.initializer)
    ? declaration.initializer.properties.filter(ts.isShorthandPropertyAssignment)
    : []

/** Checks the docstrings of what the entries of a package export. `root` ends with a slash. */
export const checkDocs = (program: ts.Program, root: string, manifest: Manifest): DocsReport => {
  const checker = program.getTypeChecker()
  const findings: Array<DocsFinding> = []
  const seen = new Set<ts.Node>()
  let members = 0

  const report = (rule: DocsRule, entry: string, name: string, at: ts.Node, message: string): void => {
    const file = at.getSourceFile()
    const line = file.getLineAndCharacterOfPosition(at.getStart(file)).line + 1
    findings.push({ rule, entry, name, path: file.fileName.slice(root.length), line, message })
  }

  const isOurs = (declaration: ts.Declaration): boolean =>
    declaration.getSourceFile().fileName.startsWith(`${root}src/`)

  const unaliased = (symbol: ts.Symbol): ts.Symbol =>
    (symbol.flags & ts.SymbolFlags.Alias) === 0 ? symbol : checker.getAliasedSymbol(symbol)

  const checkMember = (entry: string, name: string, member: ts.Node, holder: ts.Node): void => {
    members++
    const doc = docOf(holder)
    if (doc !== undefined && hasWords(doc.comment)) return
    report("undocumented-member", entry, name, member, "Say what it is, and its unit or default.")
  }

  const checkDeclaration = (entry: string, name: string, declaration: ts.Declaration): void => {
    const holder = holderOf(declaration)
    if (seen.has(holder) || isInternal(holder)) return
    seen.add(holder)
    for (const [rule, message] of faultsOf(docOf(holder))) report(rule, entry, name, holder, message)
    membersOf(declaration, (member, path) => checkMember(entry, [name, ...path].join("."), member, member))
    for (const field of fieldsOf(checker, declaration)) {
      checkMember(entry, `${name}.${field.name.getText()}`, field, field)
    }
    for (const part of gathered(declaration)) {
      for (const own of checker.getShorthandAssignmentValueSymbol(part)?.declarations ?? []) {
        checkMember(entry, `${name}.${part.name.text}`, part, holderOf(own))
      }
    }
    const other = renamed(declaration)
    const symbol = other === undefined ? undefined : checker.getSymbolAtLocation(other)
    if (symbol !== undefined) {
      for (const own of unaliased(symbol).declarations ?? []) if (isOurs(own)) checkDeclaration(entry, name, own)
    }
  }

  const collect = (entry: string, module: ts.Symbol, prefix: string, within: ReadonlySet<ts.Symbol>): void => {
    for (const exported of checker.getExportsOfModule(module)) {
      const name = prefix + exported.name
      const symbol = unaliased(exported)
      if (symbol.declarations?.some(ts.isSourceFile) === true) {
        // the place where a module becomes a name documents the name
        for (const declaration of exported.declarations ?? []) checkDeclaration(entry, name, declaration)
        if (!within.has(symbol)) collect(entry, symbol, `${name}.`, new Set([...within, symbol]))
        continue
      }
      for (const declaration of symbol.declarations ?? []) {
        if (isOurs(declaration)) checkDeclaration(entry, name, declaration)
      }
    }
  }

  const entries = entriesOf(manifest)
  for (const [entry, path] of entries) {
    const file = program.getSourceFile(root + path)
    const module = file === undefined ? undefined : checker.getSymbolAtLocation(file)
    if (module === undefined) {
      const message = `${path} is missing, or is no module.`
      findings.push({ rule: "missing-entry", entry, name: "", path, line: 1, message })
    } else collect(entry, module, "", new Set([module]))
  }
  return { entries: entries.size, exports: seen.size, members, findings }
}

/** One line: where, which rule, which name of which entry, and what to do. */
export const formatFinding = (manifest: Manifest, { entry, line, message, name, path, rule }: DocsFinding): string =>
  `${path}:${line} ${rule}: ${manifest.name}/${entry}${name === "" ? "" : ` ${name}`}: ${message}`
