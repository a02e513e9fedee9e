import { describe, expect, it } from "@effect/vitest"
import ts from "typescript"
import { checkShape, type Finding, type Rule } from "../../scripts/shape.js"

const root = "/house/"
const options: ts.CompilerOptions = {
  target: ts.ScriptTarget.ES2022,
  lib: ["lib.es2023.d.ts"],
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
  strict: true,
  types: []
}

/** A program of sources in memory, by their paths from the root. */
const programOf = (files: Readonly<Record<string, string>>, noLib = false): ts.Program => {
  const base = ts.createCompilerHost(options)
  const textOf = (name: string) => (name.startsWith(root) ? files[name.slice(root.length)] : undefined)
  const host: ts.CompilerHost = {
    ...base,
    getCurrentDirectory: () => root,
    directoryExists: () => true,
    realpath: (name) => name,
    fileExists: (name) => (name.startsWith(root) ? textOf(name) !== undefined : base.fileExists(name)),
    readFile: (name) => textOf(name) ?? base.readFile(name),
    getSourceFile: (name, version) => {
      const text = textOf(name)
      return text === undefined ? base.getSourceFile(name, version) : ts.createSourceFile(name, text, version, true)
    }
  }
  return ts.createProgram(
    Object.keys(files).map((path) => root + path),
    noLib ? { ...options, noLib } : options,
    host
  )
}

const find = (files: Readonly<Record<string, string>>, rule: Rule): ReadonlyArray<Finding> =>
  // Sizes and circles are read from the text alone.
  checkShape(programOf(files, rule !== "foreign-write"), root).filter((finding) => finding.rule === rule)

describe("foreign writes", () => {
  const owner = `
export class Session {
  x = 1
  text: string | undefined = undefined
  readonly list: Array<string> = []
  readonly pairs: Array<readonly [string, Set<string>]> = []
  readonly jobs = new Map<string, Set<string>>()
  readonly seen = new Set<string>()
  readonly bytes = new Uint8Array(8)
  readonly at = new Date(0)
  readonly inner: { deep: number; readonly names: Array<string> } = { deep: 1, names: [] }
  table: Record<string, number> = {}
  static count = 0
  #hidden = 0
  get shown(): number { return this.#hidden }
  set shown(value: number) { this.#hidden = value }
  raise(by: number): void { this.x += by }
  add(name: string): void { this.seen.add(name) }
  all(): Array<string> { return this.list }
}
export interface Running { status: string; readonly calls: Set<string>; session: Session }
export type State = { done: boolean }
export const makeCounter = () => ({ open: 0 })
export const cache = new Map<string, number>()
export const raise = (session: Session): void => { session.x++ }
export const lend = (session: Session): void => { fill(session.list) }
import { fill } from "./helpers.js"
`
  const helpers = `
export const fill = (list: Array<string>): void => { list.push("") }
export function twice(list: Array<string>): void { fill(list) }
export const bump = (counted: { x: number }): void => { counted.x++ }
export class Filler { readonly by: Array<string>; constructor(list: Array<string>) { list.push(""); this.by = [] } }
export const read = (list: ReadonlyArray<string>): number => list.length
`
  const head = `import { Session, cache, lend, makeCounter, raise, type Running, type State } from "./Owner.js"
import { bump, fill as pour, Filler, read, twice } from "./helpers.js"
declare const s: Session
declare const r: Running
declare const state: State
`
  const foreign: ReadonlyArray<readonly [statement: string, ...fields: ReadonlyArray<string>]> = [
    ["s.x = 2", "Session.x"],
    ["s.x += 2", "Session.x"],
    ["s.text ??= ''", "Session.text"],
    ["s.x++", "Session.x"],
    ["--s.x", "Session.x"],
    ["delete s.text", "Session.text"],
    ["s['x'] = 2", "Session.x"],
    ["(s).x = 2", "Session.x"],
    ["s!.x = 2", "Session.x"],
    ["s.shown = 2", "Session.shown"],
    ["Session.count = 2", "Session.count"],
    ["Session.count++", "Session.count"],
    ["r.status = 'done'", "Running.status"],
    ["r.session.x = 2", "Session.x"],
    ["r.session = s", "Running.session"],
    ["state.done = true", "State.done"],
    ["s.inner.deep = 2", "inner.deep"],
    ["makeCounter().open = 1", "makeCounter.open"],
    ["const c = makeCounter(); c.open++", "makeCounter.open"],
    ["const made = new Session(); made.x = 2", "Session.x"],
    ["const copy = { ...s.inner }; copy.names.push('')", "inner.names"],
    // patterns and loops
    ["[s.x] = [2]", "Session.x"],
    ["[, ...[s.x]] = [2, 3]", "Session.x"],
    ["({ a: s.x } = { a: 2 })", "Session.x"],
    ["({ a: s.x = 3 } = { a: 2 })", "Session.x"],
    ["({ a: [{ b: s.x }] } = { a: [{ b: 2 }] as const })", "Session.x"],
    ["for (s.x of [1, 2]);", "Session.x"],
    ["for (s.text in {});", "Session.text"],
    // collections
    ...["push('')", "pop()", "shift()", "unshift('')", "splice(0)", "sort()", "reverse()", "fill('')"].map(
      (call) => [`s.list.${call}`, "Session.list"] as const
    ),
    ["s.list?.push('')", "Session.list"],
    ["s.list['push']('')", "Session.list"],
    ["s.list[0] = ''", "Session.list"],
    ["s.list.length = 0", "Session.list"],
    ["delete s.list[0]", "Session.list"],
    ["[s.list[0]] = ['']", "Session.list"],
    ["Array.prototype.push.call(s.list, '')", "Session.list"],
    ["s.list.push.apply(s.list, [''])", "Session.list"],
    ["s.table['a'] = 1", "Session.table"],
    ["s.table.a = 1", "Session.table"],
    ["delete s.table['a']", "Session.table"],
    ["s.bytes[0] = 1", "Session.bytes"],
    ["s.bytes.set([1])", "Session.bytes"],
    ["s.at.setTime(1)", "Session.at"],
    ["s.seen.add('')", "Session.seen"],
    ["s.seen.delete('')", "Session.seen"],
    ["s.seen.clear()", "Session.seen"],
    ["s.jobs.set('', new Set())", "Session.jobs"],
    ["s.jobs.get('')!.add('')", "Session.jobs"],
    ["s.jobs.get('')?.add('')", "Session.jobs"],
    ["for (const set of s.jobs.values()) set.clear()", "Session.jobs"],
    ["for (const [, set] of s.jobs) set.clear()", "Session.jobs"],
    ["for (const [, set] of s.pairs) set.clear()", "Session.pairs"],
    ["s.jobs.forEach((set) => set.clear())", "Session.jobs"],
    ["(s.jobs.get('') ?? new Set()).add('')", "Session.jobs"],
    ["r.calls.add('')", "Running.calls"],
    ["s.inner.names.push('')", "inner.names"],
    ["cache.set('', 1)", "cache"],
    ["cache.clear()", "cache"],
    // other names of the same object
    ["const t = s; t.x = 2", "Session.x"],
    ["let t: Session; t = s; t.x = 2", "Session.x"],
    ["const t: { x: number } = s; t.x = 2", "Session.x"],
    ["(s as { x: number }).x = 2", "Session.x"],
    ["const f = (t: Session) => { t.x = 2 }; f(s)", "Session.x"],
    ["const f = <A extends Session>(t: A) => { t.x = 2 }; f(s)", "Session.x"],
    ["const f = ({ session }: Running) => { session.x = 2 }; f(r)", "Session.x"],
    ["const { session } = r; session.x = 2", "Session.x"],
    ["const { session: { inner } } = r; inner.deep = 2", "inner.deep"],
    ["const { list } = s; list.push('')", "Session.list"],
    ["const { session: { list } } = r; list.push('')", "Session.list"],
    ["const { list: mine } = s; const again = mine; again[0] = ''", "Session.list"],
    ["const [first] = s.pairs; first![1].add('')", "Session.pairs"],
    ["const f = ({ list }: Session) => list.push(''); f(s)", "Session.list"],
    ["let mine: Array<string>; mine = s.list; mine.push('')", "Session.list"],
    ["const mine = { list: s.list }; mine.list.push('')", "Session.list"],
    ["class Mine { readonly list = s.list; up() { this.list.push('') } }; new Mine()", "Session.list"],
    ["const add = s.seen.add.bind(s.seen); add('')", "Session.seen"],
    ["s.all().push('')", "Session.list"],
    ["const get = () => s.list; get().push('')", "Session.list"],
    // helpers
    ["pour(s.list)", "Session.list"],
    ["twice(s.list)", "Session.list"],
    ["new Filler(s.list)", "Session.list"],
    ["const { list } = s; pour(list)", "Session.list"],
    ["bump(s)", "Session.x"],
    ["Object.assign(s, { x: 2, text: '' })", "Session.x", "Session.text"],
    ["Object.defineProperty(s, 'x', { value: 2 })", "Session.x"],
    ["Reflect.set(s, 'x', 2)", "Session.x"],
    ["Object.assign(s.table, { a: 1 })", "Session.table"],
    // subclasses
    ["class Mine extends Session { up() { this.x = 2 } }; new Mine()", "Session.x"],
    ["class Mine extends Session { up() { this.list.push('') } }; new Mine()", "Session.list"]
  ]
  const innocent: ReadonlyArray<string> = [
    "s.raise(1)",
    "s.add('')",
    "raise(s)",
    "lend(s)",
    "const x = s.x + 1; void x",
    "if (s.x === 2 && s.x <= 3) void s.list.length",
    "let x = s.x; x++; x = 3",
    "let { x } = s; x = 2",
    "const local = new Map<string, number>(); local.set('', 1); local.clear()",
    "const local = new Session(); void local",
    "let mine: Array<string> = []; mine = [...s.list]; mine.push('')",
    "const mine = { list: [...s.list] }; mine.list.push('')",
    "const names: Array<string> = []; names.push('')",
    "[...s.list].sort()",
    "s.list.slice().reverse()",
    "s.list.filter((name) => name !== '').push('')",
    "s.list.map((name) => [name]).forEach((one) => one.push(''))",
    "new Set(s.seen).add('')",
    "const copy = { ...s.inner }; copy.deep = 2",
    "const { names, ...rest } = s.inner; rest.deep = 2; void names",
    "const mine: { x: number } = { x: 1 }; mine.x = 2",
    "class Mine { x = 1; up() { this.x++ } }; new Mine().x = 2",
    "class Mine extends Session { mine = 1; up() { this.mine++ } }; new Mine().mine = 2",
    "interface Mine { x: number }; const mine: Mine = { x: 1 }; mine.x = 2",
    "const made: Running = { status: '', calls: new Set(), session: s }; void made",
    "read(s.list)",
    "bump({ x: 1 })",
    "pour([])",
    "twice([...s.list])",
    "for (const name of s.list) void name",
    "for (const set of [new Set<string>()]) set.clear()",
    "const push = s.raise; void push"
  ]

  const caseFiles = (statements: ReadonlyArray<string>, folder: string) =>
    Object.fromEntries(statements.map((statement, i) => [`${folder}/case${i}.ts`, `${head}${statement}\nexport {}\n`]))

  /** What the type checker rejects: where it does not know a type, nothing would be found. */
  const wrongIn = (files: Readonly<Record<string, string>>) =>
    ts
      .getPreEmitDiagnostics(programOf(files))
      .map(
        ({ file, messageText }) =>
          `${file?.text.split("\n").at(-3)}: ${ts.flattenDiagnosticMessageText(messageText, " ")}`
      )

  it("finds every kind of write, by whatever name the field is reached", () => {
    const files = {
      "src/runtime/Owner.ts": owner,
      "src/runtime/helpers.ts": helpers,
      ...caseFiles(
        foreign.map(([statement]) => statement),
        "src/runtime"
      )
    }
    expect(wrongIn(files)).toEqual([])
    const found = find(files, "foreign-write")
    for (const [i, [statement, ...fields]] of foreign.entries()) {
      const said = found.filter(({ key }) => key.startsWith(`src/runtime/case${i}.ts `)).map(({ key }) => key)
      const expected = fields.map((field) => `src/runtime/case${i}.ts -> src/runtime/Owner.ts#${field}`)
      expect(said, statement).toEqual(expected.sort())
    }
    expect(found.filter(({ key }) => !key.startsWith("src/runtime/case"))).toEqual([])
  })

  it("finds them from other parts of src too", () => {
    const text = `import type { Session } from "../runtime/Owner.js"\nexport const f = (s: Session) => { s.x = 1 }\n`
    const files = { "src/runtime/Owner.ts": owner, "src/runtime/helpers.ts": helpers, "src/cli/a.ts": text }
    expect(find(files, "foreign-write").map(({ lines }) => lines)).toEqual([
      [
        "src/cli/a.ts:2:36 foreign-write: Session.x belongs to src/runtime/Owner.ts. Make the change a method or a function of src/runtime/Owner.ts, and call it here."
      ]
    ])
  })

  it("does not find what is a file's own", () => {
    const files = {
      "src/runtime/Owner.ts": owner,
      "src/runtime/helpers.ts": helpers,
      ...caseFiles(innocent, "src/runtime")
    }
    expect(wrongIn(files)).toEqual([])
    for (const { key } of find(files, "foreign-write")) {
      const at = Number(/case(\d+)/.exec(key)?.[1])
      expect(`${innocent[at]}: ${key}`).toBe("innocent")
    }
  })

  it("does not find writes in the file of the field, and none of fields outside of the runtime", () => {
    const inside = `${owner}\nexport const f = (s: Session) => { s.x = 2; s.list.push(""); const { jobs } = s; jobs.clear(); cache.clear() }`
    const store = `export class Row { x = 1; readonly list: Array<string> = [] }`
    const files = {
      "src/runtime/Owner.ts": inside,
      "src/runtime/helpers.ts": helpers,
      "src/store/Row.ts": store,
      "src/runtime/a.ts": `import type { Row } from "../store/Row.js"\nexport const f = (row: Row) => { row.x = 2; row.list.push("") }`
    }
    expect(find(files, "foreign-write")).toEqual([])
  })

  it("counts the writes of a field by file, and separates fields of classes from others", () => {
    const text = `${head}s.x = 1\ns.x = 2\ns.list.push("")\nr.status = ""\n`
    const files = { "src/runtime/Owner.ts": owner, "src/runtime/helpers.ts": helpers, "src/runtime/a.ts": text }
    expect(find(files, "foreign-write").map(({ field, figure, key }) => [key, figure, field])).toEqual([
      ["src/runtime/a.ts -> src/runtime/Owner.ts#Running.status", 1, "record"],
      ["src/runtime/a.ts -> src/runtime/Owner.ts#Session.list", 1, "class"],
      ["src/runtime/a.ts -> src/runtime/Owner.ts#Session.x", 2, "class"]
    ])
  })
})

const lines = (count: number, text = "  work()"): string => Array.from({ length: count }, () => text).join("\n")

describe("sizes", () => {
  const sizes = (text: string) =>
    find({ "src/a.ts": text }, "function-size").map(({ figure, key }) => `${key} ${figure}`)

  it("counts the lines of each kind of function, by its name", () => {
    const body = `{\n${lines(59)}\n}`
    const cases: ReadonlyArray<readonly [text: string, name: string]> = [
      [`export function f() ${body}`, "f"],
      [`export const f = () => ${body}`, "f"],
      [`export const f = function () ${body}`, "f"],
      [`export const f = function* () ${body}`, "f"],
      [`export const f = gen(function* () ${body})`, "f"],
      [`export const f = async () => ${body}`, "f"],
      [`export class A { m() ${body} }`, "A.m"],
      [`export class A { static m() ${body} }`, "A.m"],
      [`export class A { constructor() ${body} }`, "A.constructor"],
      [`export class A { get m() ${body} }`, "A.m"],
      [`export class A { set m(value) ${body} }`, "A.m"],
      [`export class A { m = () => ${body} }`, "A.m"],
      [`export class A { static readonly layer = effect(gen(function* () ${body})) }`, "A.layer"],
      [`export const o = { m() ${body} }`, "o.m"],
      [`export const o = { m: () => ${body} }`, "o.m"],
      [`export default () => ${body}`, "(unnamed)"]
    ]
    for (const [text, name] of cases) expect(sizes(text), text.slice(0, 50)).toEqual([`src/a.ts#${name} 61`])
  })

  it("allows 60 lines, and does not count those of nested functions", () => {
    expect(sizes(`export const f = () => {\n${lines(58)}\n}`)).toEqual([])
    const nested = `  const g = () => {\n${lines(50)}\n  }`
    expect(sizes(`export const f = () => {\n${nested}\n${lines(58)}\n${nested}\n}`)).toEqual([])
    expect(sizes(`export const f = () => {\n${nested}\n${lines(59)}\n${nested}\n}`)).toEqual(["src/a.ts#f 61"])
    expect(sizes(`export const f = () => {\n  const g = () => {\n${lines(59)}\n  }\n}`)).toEqual(["src/a.ts#f.g 61"])
  })

  it("counts a line that holds a whole function for the function around it", () => {
    expect(sizes(`export const f = () => {\n${lines(59, "  work((x) => x)")}\n}`)).toEqual(["src/a.ts#f 61"])
  })

  it("counts comments and blank lines inside, and none before", () => {
    expect(sizes(`/**\n${lines(100)}\n */\nexport const f = () => 1`)).toEqual([])
    expect(sizes(`export const f = () => {\n${lines(30, "")}\n${lines(29, "// why")}\n}`)).toEqual(["src/a.ts#f 61"])
  })

  it("is no class, type or signature", () => {
    expect(sizes(`export class A {\n${lines(100, "  x = 1")}\n}`)).toEqual([])
    expect(sizes(`export interface A {\n${lines(100, "  m(): void")}\n}`)).toEqual([])
    expect(sizes(`export declare const f: (\n${lines(100, "  a: 1,")}\n) => void`)).toEqual([])
  })

  it("numbers functions of one name from the largest on", () => {
    const of = (count: number) => `take(() => {\n${lines(count)}\n}, () => {\n${lines(count + 1)}\n})`
    expect(sizes(`export const f = ${of(70)}`)).toEqual(["src/a.ts#f 73", "src/a.ts#f~2 72"])
  })

  it("allows a file 450 lines", () => {
    const files = (count: number) => ({ "src/a.ts": `${lines(count, "export {}")}\n`, "test/b.ts": lines(900, "") })
    expect(find(files(450), "file-size")).toEqual([])
    expect(find(files(451), "file-size").map(({ figure, key }) => [key, figure])).toEqual([["src/a.ts", 451]])
  })

  it("does not count the frames of docstrings and the tags of exports, and counts all else", () => {
    const sizeOf = (text: string) => find({ "src/a.ts": text }, "file-size").map(({ figure }) => figure)
    const block = "/**\n * What it is.\n *\n * @since 0.1.0\n * @category models\n */\nexport const a"
    const exports = (count: number) => Array.from({ length: count }, (_, i) => `${block}${i} = 1`).join("\n")
    expect(sizeOf(exports(225))).toEqual([])
    expect(sizeOf(exports(226))).toEqual([452])
    // members have docstrings too
    const member = "  /**\n   * What it is.\n   */\n  readonly a"
    const members = (count: number) => Array.from({ length: count }, (_, i) => `${member}${i}: 1`).join("\n")
    expect(sizeOf(`export interface A {\n${members(224)}\n}`)).toEqual([])
    expect(sizeOf(`export interface A {\n${members(225)}\n}`)).toEqual([452])
    for (const text of [
      `/**\n${lines(451, " * words")}\n */`,
      lines(451, "/** words */"),
      `/**\n * A.\n${lines(450, " * @example words")}\n */`,
      `/*\n * A.\n${lines(448, " *")}\n */`,
      `const text = \`\n/**\n${lines(448, " * @since 0.1.0")}\n */\``,
      lines(451, "// @since 0.1.0")
    ]) {
      expect(sizeOf(`${text}\nexport {}`), text.slice(0, 40)).toEqual([452])
    }
  })
})

describe("import circles", () => {
  const keys = (files: Readonly<Record<string, string>>) => find(files, "import-circle").map(({ key }) => key)

  it("finds a circle by every way to import", () => {
    const back = `import { a } from "./a.js"\nexport const b = a`
    for (const there of [
      `import { b } from "./b.js"\nexport const a = b`,
      `import "./b.js"\nexport const a = 1`,
      `import type { b } from "./b.js"\nexport type A = typeof b`,
      `import { type b } from "./b.js"\nexport type A = typeof b`,
      `export * from "./b.js"`,
      `export type { b } from "./b.js"`,
      `export type A = import("./b.js").B`,
      `export const a = () => import("./b.js")`
    ]) {
      expect(keys({ "src/a.ts": there, "src/b.ts": back }), there).toEqual(["src/a.ts src/b.ts"])
    }
    expect(keys({ "src/a.ts": `import type { A } from "./a.js"\nexport type B = A` })).toEqual(["src/a.ts"])
  })

  it("finds long ones over folders, each once, and says the way", () => {
    const files = {
      "src/x/a.ts": `import "../y/b.js"`,
      "src/y/b.ts": `import "./internal/c.js"`,
      "src/y/internal/c.ts": `import "../../x/a.js"\nimport "../d.js"`,
      "src/y/d.ts": `export {}`,
      "src/y/e.ts": `import "./b.js"`
    }
    const found = find(files, "import-circle")
    expect(found.map(({ key }) => key)).toEqual(["src/x/a.ts src/y/b.ts src/y/internal/c.ts"])
    expect(found[0]!.lines[0]).toContain("src/x/a.ts -> src/y/b.ts -> src/y/internal/c.ts -> src/x/a.ts")
  })

  it("is no shared import, and none of a file outside of src", () => {
    const files = {
      "src/a.ts": `import "./c.js"\nimport "./b.js"`,
      "src/b.ts": `import "./c.js"`,
      "src/c.ts": `export {}\n// import "./a.js"`,
      "test/d.ts": `import "./e.js"`,
      "test/e.ts": `import "./d.js"`
    }
    expect(keys(files)).toEqual([])
  })
})
