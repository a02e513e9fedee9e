/**
 * A readable report of the public surface, a text for each entry: every exported name with its declaration, as the compiler wrote it,
 * without comments and bodies. It is committed, so that a change of the surface shows in a diff and is meant.
 *
 * Responsibility: a text that depends on nothing but the surface: names are sorted, unions are as the compiler prints them, and the
 * fields of a class that only its constant base declares are printed with the class.
 */
import ts from "typescript"
import type { PublicName, Surface } from "./surface.js"

const printer = ts.createPrinter({
  removeComments: true,
  omitTrailingSemicolon: true,
  newLine: ts.NewLineKind.LineFeed
})

const print = (node: ts.Node): string => {
  const text = printer.printNode(ts.EmitHint.Unspecified, node, node.getSourceFile())
  return text
    .replace(/^export (?=declare )/, "")
    .replace(/^(?:export )?(?:declare )?/, "")
    .trimEnd()
}

/** The constant that the compiler writes for the expression after `extends`; undefined where a class has none. */
const baseOf = (checker: ts.TypeChecker, declaration: ts.Declaration): ts.VariableDeclaration | undefined => {
  if (!ts.isClassDeclaration(declaration)) return undefined
  const extended = declaration.heritageClauses?.find(({ token }) => token === ts.SyntaxKind.ExtendsKeyword)?.types[0]
  const symbol = extended === undefined ? undefined : checker.getSymbolAtLocation(extended.expression)
  const found = symbol?.declarations?.find(ts.isVariableDeclaration)
  return found !== undefined && found.getSourceFile() === declaration.getSourceFile() ? found : undefined
}

const declarationsOf = (checker: ts.TypeChecker, symbol: ts.Symbol): ReadonlyArray<string> =>
  (symbol.declarations ?? []).flatMap((declaration) => {
    if (ts.isSourceFile(declaration)) return []
    const base = baseOf(checker, declaration)
    const whole = ts.isVariableDeclaration(declaration) ? `const ${print(declaration)}` : print(declaration)
    return base === undefined ? [whole] : [`const ${print(base)}`, whole]
  })

const indented = (text: string, by: string): string => (by === "" ? text : text.replace(/^(?=.)/gm, by))

/** How deep a name lies in namespaces. */
const depthOf = (name: string): number => name.split(".").length - 1

/** The report of an entry. */
export const reportOf = (surface: Surface, entry: string): string => {
  const names = surface.entries.get(entry) ?? []
  const lines: Array<string> = [
    `# ${surface.manifest.name}/${entry}`,
    "",
    "Written by `npm run api`. A change of this file is a change of what users can import: see it in the diff, and mean it.",
    "",
    "```ts"
  ]
  const add = (prefix: string, depth: number): void => {
    const own = names.filter(({ name }) => depthOf(name) === depth && name.startsWith(prefix))
    for (const name of own) addName(name, prefix, depth)
  }
  const addName = ({ isNamespace, name, symbol }: PublicName, prefix: string, depth: number): void => {
    const short = name.slice(prefix.length)
    const by = "  ".repeat(depth)
    const open = names.some((other) => other.name.startsWith(`${name}.`))
    if (isNamespace) {
      lines.push(indented(open ? `namespace ${short} {` : `namespace ${short} {}`, by))
      if (!open) return
      add(`${name}.`, depth + 1)
      lines.push(indented("}", by))
      return
    }
    if (symbol.name !== short) lines.push(indented(`// ${short} is ${symbol.name}`, by))
    for (const text of declarationsOf(surface.checker, symbol)) lines.push(indented(text, by))
  }
  add("", 0)
  lines.push("```", "")
  return lines.join("\n")
}

/** The file of an entry's report. */
export const fileOf = (entry: string): string => `${entry.replaceAll("/", ".")}.api.md`

/** A difference between what is committed and what the surface is. */
export interface Difference {
  readonly file: string
  /** `missing`: there is no report yet. `unknown`: a report of something that is not an entry. */
  readonly kind: "changed" | "missing" | "unknown"
  /** Lines that are gone and lines that are new, each with its number, `-` or `+` first. */
  readonly lines: ReadonlyArray<string>
}

/** The lines that two texts do not share, in their order: by the longest common subsequence of what lies between equal ends. */
export const linesOf = (before: string, after: string): ReadonlyArray<string> => {
  const a = before.split("\n")
  const b = after.split("\n")
  let start = 0
  while (start < a.length && start < b.length && a[start] === b[start]) start++
  let end = 0
  while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end++
  const [n, m] = [a.length - start - end, b.length - start - end]
  const common = Array.from({ length: n + 1 }, () => new Uint32Array(m + 1))
  for (let i = n - 1; i >= 0; i--) {
    for (let j = m - 1; j >= 0; j--) {
      common[i]![j] =
        a[start + i] === b[start + j] ? common[i + 1]![j + 1]! + 1 : Math.max(common[i + 1]![j]!, common[i]![j + 1]!)
    }
  }
  const found: Array<string> = []
  let [i, j] = [0, 0]
  while (i < n || j < m) {
    if (i < n && j < m && a[start + i] === b[start + j]) {
      i++
      j++
    } else if (j >= m || (i < n && common[i + 1]![j]! >= common[i]![j + 1]!)) {
      found.push(`- ${start + i + 1}: ${a[start + i]}`)
      i++
    } else {
      found.push(`+ ${start + j + 1}: ${b[start + j]}`)
      j++
    }
  }
  return found
}

/** What differs between the committed reports, by file, and those of the surface. */
export const compare = (
  committed: ReadonlyMap<string, string>,
  current: ReadonlyMap<string, string>
): ReadonlyArray<Difference> => {
  const found: Array<Difference> = []
  for (const [file, text] of current) {
    const before = committed.get(file)
    if (before === undefined) found.push({ file, kind: "missing", lines: [] })
    else if (before !== text) found.push({ file, kind: "changed", lines: linesOf(before, text) })
  }
  for (const file of committed.keys()) if (!current.has(file)) found.push({ file, kind: "unknown", lines: [] })
  return found.toSorted((a, b) => (a.file < b.file ? -1 : 1))
}

const most = 60

/** A difference in words, with its lines. */
export const formatDifference = ({ file, kind, lines }: Difference): string =>
  kind === "missing"
    ? `${file}: an entry without a report. Write it: npm run api`
    : kind === "unknown"
      ? `${file}: a report of what is no entry. Delete it: npm run api`
      : [
          `${file}: the public surface has changed ("-" is gone, "+" is new):`,
          ...lines.slice(0, most).map((line) => `  ${line}`),
          ...(lines.length > most ? [`  and ${lines.length - most} lines more`] : [])
        ].join("\n")
