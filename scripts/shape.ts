/**
 * The shape of `src`: which file owns which state, how large files and functions are, and that no files import each other in a
 * circle. Pure: a program in, findings out. `check-shape.ts` is the program.
 */
import ts from "typescript"
import { moduleNamed, sourceNamed, walk } from "./syntax.js"
import { type Field, fieldName, findForeignWrites } from "./writes.js"

export type Rule = "foreign-write" | "function-size" | "file-size" | "import-circle"

export interface Finding {
  readonly rule: Rule
  /** Names the fault without line numbers, so that it stays equal after an edit elsewhere in the file. */
  readonly key: string
  /** How large the fault is: the number of writes, of lines, of files in the circle. */
  readonly figure: number
  /** Each place, with what was found and what to do. */
  readonly lines: ReadonlyArray<string>
  /** Of a foreign write: what has the field. */
  readonly field?: Field["kind"]
}

export const maxFunctionLines = 60
export const maxFileLines = 450

/** The part of `src` whose fields have owners. */
const owned = "src/runtime/"

/** A source by its path from the repository's root. */
interface Source {
  readonly path: string
  readonly file: ts.SourceFile
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

const grouped = <A>(all: ReadonlyArray<A>, keyOf: (one: A) => string): ReadonlyArray<readonly [string, Array<A>]> => {
  const groups = new Map<string, Array<A>>()
  for (const one of all) {
    const group = groups.get(keyOf(one))
    if (group === undefined) groups.set(keyOf(one), [one])
    else group.push(one)
  }
  return [...groups].sort(([a], [b]) => compare(a, b))
}

const place = ({ file, path }: Source, node: ts.Node): string => {
  const { character, line } = file.getLineAndCharacterOfPosition(node.getStart(file))
  return `${path}:${line + 1}:${character + 1}`
}

// --- foreign writes

const foreignWrites = (program: ts.Program, pathOf: (file: ts.SourceFile) => string | undefined) => {
  const writes = findForeignWrites(program, { pathOf, owns: (path) => path.startsWith(owned) })
  const byField = grouped(writes, ({ field, path }) => `${path} -> ${field.path}#${fieldName(field)}`)
  return byField.map(([key, found]): Finding => {
    const lines = found.map(({ column, field, line, path }) => {
      const advice = `Make the change a method or a function of ${field.path}, and call it here.`
      return `${path}:${line}:${column} foreign-write: ${fieldName(field)} belongs to ${field.path}. ${advice}`
    })
    return { rule: "foreign-write", key, figure: found.length, lines, field: found[0]!.field.kind }
  })
}

/** How many fields of a kind are written from elsewhere, how often, and from how many files. */
export const countWrites = (findings: ReadonlyArray<Finding>, kind: Field["kind"]) => {
  const ours = findings.filter(({ field }) => field === kind)
  const parts = ours.map(({ key }) => key.split(" -> "))
  return {
    writes: ours.reduce((sum, { figure }) => sum + figure, 0),
    fields: new Set(parts.map(([, field]) => field)).size,
    files: new Set(parts.map(([file]) => file)).size
  }
}

// --- sizes

const isFunction = (node: ts.Node): node is ts.FunctionLikeDeclaration =>
  ts.isFunctionLike(node) && "body" in node && node.body !== undefined

const nestedIn = (node: ts.Node): ReadonlyArray<ts.FunctionLikeDeclaration> => {
  const found: Array<ts.FunctionLikeDeclaration> = []
  const visit = (child: ts.Node): void => {
    if (isFunction(child)) found.push(child)
    else ts.forEachChild(child, visit)
  }
  ts.forEachChild(node, visit)
  return found
}

/**
 * The lines of a function that are not lines of a function nested in it. A nested function that begins and ends on one line has no
 * line of its own: the line counts for the function around it.
 */
const ownLines = (file: ts.SourceFile, node: ts.FunctionLikeDeclaration): number => {
  const span = (of: ts.Node) =>
    [
      file.getLineAndCharacterOfPosition(of.getStart(file)).line,
      file.getLineAndCharacterOfPosition(of.end).line
    ] as const
  const [first, last] = span(node)
  const nested = new Set<number>()
  for (const inner of nestedIn(node)) {
    const [from, to] = span(inner)
    if (to > from) for (let line = from; line <= to; line++) nested.add(line)
  }
  return last - first + 1 - nested.size
}

const nameOf = (node: ts.Node): string | undefined => {
  if (ts.isConstructorDeclaration(node)) return "constructor"
  if (ts.isFunctionLike(node) || ts.isClassLike(node) || ts.isVariableDeclaration(node)) {
    return node.name === undefined ? undefined : node.name.getText()
  }
  return ts.isPropertyAssignment(node) || ts.isPropertyDeclaration(node) ? node.name.getText() : undefined
}

/** The names of everything around a function, its own last: `Journal.layer.emit`. A function without a name has that of its holder. */
const pathTo = (node: ts.Node): string => {
  const names: Array<string> = []
  for (let at: ts.Node = node; !ts.isSourceFile(at); at = at.parent) {
    const name = nameOf(at)
    if (name !== undefined) names.unshift(name.replaceAll(/\s+/g, " "))
  }
  return names.length === 0 ? "(unnamed)" : names.join(".")
}

const functionSizes = (source: Source): ReadonlyArray<Finding> => {
  const large: Array<{ readonly node: ts.Node; readonly name: string; readonly size: number }> = []
  walk(source.file, (node) => {
    const size = isFunction(node) ? ownLines(source.file, node) : 0
    if (size > maxFunctionLines) large.push({ node, name: pathTo(node), size })
  })
  return grouped(large, ({ name }) => name).flatMap(([name, same]) =>
    // The largest of those with one name comes first, so that a figure can only fall when one of them is fixed.
    same
      .sort((a, b) => b.size - a.size)
      .map(({ node, size }, index): Finding => {
        const what = `${name} has ${size} lines outside the functions nested in it, more than ${maxFunctionLines}.`
        const advice = "Give its parts names: functions over one state object."
        return {
          rule: "function-size",
          key: `${source.path}#${name}${index === 0 ? "" : `~${index + 1}`}`,
          figure: size,
          lines: [`${place(source, node)} function-size: ${what} ${advice}`]
        }
      })
  )
}

/** A line of a docstring that says nothing by itself: its frame, an empty line, and the tags that every export has to have. */
const bare = /^\s*(?:\/\*\*|\*\/|\*|\* @(?:since|category)(?:\s.*)?)$/

/** How many lines of the docstrings of a file are {@link bare}. */
const bareLines = (file: ts.SourceFile): number => {
  const found = new Set<number>()
  const lines = file.text.split(/\r?\n/)
  walk(file, (node) => {
    for (const doc of ts.getJSDocCommentsAndTags(node)) {
      if (!ts.isJSDoc(doc)) continue
      const last = file.getLineAndCharacterOfPosition(doc.end).line
      for (let line = file.getLineAndCharacterOfPosition(doc.pos).line; line <= last; line++) {
        if (bare.test(lines[line] ?? "")) found.add(line)
      }
    }
  })
  return found.size
}

const fileSizes = ({ file, path }: Source): ReadonlyArray<Finding> => {
  const figure = file.text.split("\n").length - (file.text.endsWith("\n") ? 1 : 0) - bareLines(file)
  if (figure <= maxFileLines) return []
  const what = `the file has ${figure} lines without the tags of its docstrings, more than ${maxFileLines}.`
  const advice = "Move one concept of it, with its name, into a file of its own."
  return [{ rule: "file-size", key: path, figure, lines: [`${path}:1:1 file-size: ${what} ${advice}`] }]
}

// --- circles

/** The files that a file imports by a relative path, those that it needs for types only included. */
const importsOf = ({ file, path }: Source): ReadonlySet<string> => {
  const found = new Set<string>()
  walk(file, (node) => {
    const named = moduleNamed(node)
    if (named === undefined || named === null || !ts.isStringLiteralLike(named)) return
    const target = sourceNamed(path, named.text)
    if (target !== undefined) found.add(target)
  })
  return found
}

type Graph = ReadonlyMap<string, ReadonlySet<string>>

/** Groups of files that all reach each other, larger than one file or a file that imports itself (Tarjan). */
const circles = (graph: Graph): ReadonlyArray<ReadonlyArray<string>> => {
  const found: Array<ReadonlyArray<string>> = []
  const order = new Map<string, number>()
  const low = new Map<string, number>()
  const stack: Array<string> = []
  const visit = (path: string): void => {
    order.set(path, order.size)
    low.set(path, order.get(path)!)
    stack.push(path)
    for (const next of graph.get(path) ?? []) {
      if (!graph.has(next)) continue
      if (!order.has(next)) visit(next)
      if (stack.includes(next)) low.set(path, Math.min(low.get(path)!, low.get(next)!))
    }
    if (low.get(path) !== order.get(path)) return
    const members = stack.splice(stack.indexOf(path)).sort(compare)
    if (members.length > 1 || graph.get(path)?.has(path) === true) found.push(members)
  }
  for (const path of graph.keys()) if (!order.has(path)) visit(path)
  return found
}

/** The shortest import path from a file back to itself. */
const shortestCircle = (graph: Graph, start: string): ReadonlyArray<string> => {
  const from = new Map<string, string>()
  const queue = [start]
  for (const path of queue) {
    for (const next of graph.get(path) ?? []) {
      if (next === start) {
        const way = [path, start]
        for (let at = path; at !== start; ) way.unshift((at = from.get(at)!))
        return way
      }
      if (from.has(next)) continue
      from.set(next, path)
      queue.push(next)
    }
  }
  return []
}

const importCircles = (sources: ReadonlyArray<Source>): ReadonlyArray<Finding> => {
  const graph: Graph = new Map(sources.map((source) => [source.path, importsOf(source)]))
  const found = circles(graph).map((members): Finding => {
    const way = shortestCircle(graph, members[0]!).join(" -> ")
    const advice = "Move what both need into a file that neither imports from, or take it as an argument."
    return {
      rule: "import-circle",
      key: members.join(" "),
      figure: members.length,
      lines: [`${members[0]}:1:1 import-circle: ${members.length} files import each other: ${way}. ${advice}`]
    }
  })
  return found.sort((a, b) => compare(a.key, b.key))
}

/** Everything that is wrong with the shape of the files of a program that lie in `src` under a root. */
export const checkShape = (program: ts.Program, root: string): ReadonlyArray<Finding> => {
  const prefix = root.endsWith("/") ? root : `${root}/`
  const pathOf = (file: ts.SourceFile): string | undefined => {
    const path = file.fileName.startsWith(prefix) ? file.fileName.slice(prefix.length) : undefined
    return path?.startsWith("src/") === true && !file.isDeclarationFile ? path : undefined
  }
  const sources = program
    .getSourceFiles()
    .flatMap((file): ReadonlyArray<Source> => {
      const path = pathOf(file)
      return path === undefined ? [] : [{ path, file }]
    })
    .sort((a, b) => compare(a.path, b.path))
  return [
    ...foreignWrites(program, pathOf),
    ...sources.flatMap(functionSizes),
    ...sources.flatMap(fileSizes),
    ...importCircles(sources)
  ]
}
