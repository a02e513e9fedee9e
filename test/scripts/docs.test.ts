import { describe, expect, it } from "@effect/vitest"
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { categories, checkDocs, type DocsReport, formatFinding } from "../../scripts/docs.js"
import { entriesOf, type Manifest } from "../../scripts/manifest.js"
import { manifest, program, root } from "../support/declarations.js"

const empty = { "src/rooms/index.ts": "export {}", "src/doors/index.ts": "export {}" }

const report = (files: Readonly<Record<string, string>>): DocsReport =>
  checkDocs(program({ ...empty, ...files }), root, manifest)

/** What is found, as `rule entry name`. */
const check = (files: Readonly<Record<string, string>>): ReadonlyArray<string> =>
  report(files).findings.map(({ entry, name, rule }) => `${rule} ${entry} ${name}`.trim())

/** What is found in a module that an entry exports. */
const room = (text: string): ReadonlyArray<string> =>
  check({ "src/rooms/index.ts": 'export * from "./Room.js"', "src/rooms/Room.ts": text })

const tags = " *\n * @since 0.1.0\n * @category models\n */\n"
const whole = `/**\n * What it is.\n${tags}`

describe("docstrings of exports", () => {
  it("whole ones of every kind of declaration pass, and are counted", () => {
    const kinds = [
      "export const a = 1",
      "export function b() {}",
      "export class C {}",
      "export interface D {}",
      "export type E = string",
      "export enum F { A }",
      "export const a2 = () => 1"
    ]
    const files = {
      "src/rooms/index.ts": 'export * from "./Room.js"',
      "src/rooms/Room.ts": kinds.map((kind) => whole + kind).join("\n\n")
    }
    expect(report(files)).toStrictEqual({ entries: 2, exports: 7, members: 0, findings: [] })
  })

  it.each([
    ["undocumented", ""],
    ["undocumented", "// What it is.\n"],
    ["empty", `/**\n${tags}`],
    ["empty", `/**\n * -\n${tags}`],
    ["no-since", "/**\n * What it is.\n *\n * @category models\n */\n"],
    ["no-since", "/**\n * What it is.\n *\n * @since soon\n * @category models\n */\n"],
    ["no-since", "/**\n * What it is.\n *\n * @since 0.1\n * @category models\n */\n"],
    ["no-since", "/**\n * What it is.\n *\n * @since 0.1.0\n * @since 0.2.0\n * @category models\n */\n"],
    ["no-category", "/**\n * What it is.\n *\n * @since 0.1.0\n */\n"],
    ["no-category", "/**\n * What it is.\n *\n * @since 0.1.0\n * @category\n */\n"],
    ["no-category", "/**\n * What it is.\n *\n * @since 0.1.0\n * @category models\n * @category errors\n */\n"],
    ["unknown-category", "/**\n * What it is.\n *\n * @since 0.1.0\n * @category Models\n */\n"],
    ["unknown-category", "/**\n * What it is.\n *\n * @since 0.1.0\n * @category misc\n */\n"]
  ])("%s: %j", (rule, doc) => {
    for (const [name, text] of [
      ["a", "export const a = 1"],
      ["B", "export class B {}"],
      ["C", "export interface C {}"]
    ] as const) {
      expect(room(doc + text)).toStrictEqual([`${rule} rooms ${name}`])
    }
  })

  it("one docstring may have several faults", () => {
    expect(room("/** */\nexport const a = 1")).toStrictEqual([
      "empty rooms a",
      "no-since rooms a",
      "no-category rooms a"
    ])
  })

  it("a value and a type of one name have a docstring each", () => {
    expect(room(`${whole}export const A = 1\n\nexport type A = number`)).toStrictEqual(["undocumented rooms A"])
  })

  it("follows exports through files, names and entries, and reports each declaration once", () => {
    const files = {
      "src/rooms/index.ts": 'export { hidden as shown } from "./internal.js"',
      "src/doors/index.ts": 'export * from "../rooms/index.js"',
      "src/rooms/internal.ts": 'export * from "./deep.js"',
      "src/rooms/deep.ts": "export const hidden = 1\nexport const unexported = 2"
    }
    expect(check(files)).toStrictEqual(["undocumented rooms shown"])
  })

  it("a type that is only another name is checked with what it names", () => {
    const files = {
      "src/rooms/index.ts": 'export type { A } from "./Room.js"',
      "src/rooms/Room.ts": `interface B { readonly b: string }\n\n${whole}export type A = B`
    }
    expect(check(files)).toStrictEqual(["undocumented rooms A"])
    const partial = { ...files, "src/rooms/Room.ts": `interface B { }\n\n${whole}export type A = Partial<B>` }
    expect(check(partial)).toStrictEqual([])
  })

  it("what is not ours and what is internal needs none", () => {
    expect(room("/** @internal Made by the parser. */\nexport const a = 1")).toStrictEqual([])
    expect(room(`export type { Array } from "lib"`)).toStrictEqual([])
  })
})

describe("modules under a name", () => {
  const key = { "src/rooms/Key.ts": `/** Keys. */\n\n${whole}export const cut = 1` }

  it("the export has the docstring, the head of the file is none", () => {
    const named = 'export * as Key from "./Key.js"'
    expect(check({ ...key, "src/rooms/index.ts": named })).toStrictEqual(["undocumented rooms Key"])
    expect(check({ ...key, "src/rooms/index.ts": whole + named })).toStrictEqual([])
  })

  it("the head of an entry does not document its first export", () => {
    const found = check({ ...key, "src/rooms/index.ts": '/** Rooms. */\nexport * as Key from "./Key.js"' })
    expect(found).toStrictEqual(["no-since rooms Key", "no-category rooms Key"])
  })

  it("what is in it is an export, by its whole name; a module inside itself ends", () => {
    const files = {
      "src/rooms/index.ts": `${whole}export * as Key from "./Key.js"`,
      "src/rooms/Key.ts": `export const cut = 1\n${whole}export * as Key from "./Key.js"`
    }
    expect(check(files)).toStrictEqual(["undocumented rooms Key.cut"])
  })
})

describe("docstrings of members", () => {
  it.each([
    ["a field of an interface", "export interface A {\n  readonly b: string\n}", "A.b"],
    ["a method of an interface", "export interface A {\n  b(): void\n}", "A.b"],
    ["a field of a type", "export type A = {\n  b: string\n}", "A.b"],
    [
      "a field of one of several types",
      'export type A =\n  | { readonly _tag: "x" }\n  | {\n      b: string\n    }',
      "A.b"
    ],
    ["a field of a class", "export class A {\n  b = 1\n}", "A.b"],
    ["a static field of a class", "export class A {\n  static readonly b = 1\n}", "A.b"],
    ["a method of a class", "export class A {\n  b() {}\n}", "A.b"],
    ["a getter of a class", "export class A {\n  get b() {\n    return 1\n  }\n}", "A.b"],
    [
      "a member of a service, behind the tag that makes its class",
      "declare const tag: <S, I>() => new () => I\nexport class A extends tag<\n  A,\n  {\n    readonly b: string\n  }\n>() {}",
      "A.b"
    ],
    ["a field of a function's options", "export const a = (options: {\n  b: string\n}) => options", "a.b"],
    ["a field of the options of a declared function", "export function a(options: {\n  b: string\n}) {}", "a.b"],
    ["a field of a record in a record", "export interface A {\n  /** C. */\n  c: {\n    b: string\n  }\n}", "A.c.b"],
    ["a field that is quoted", 'export interface A {\n  "b.c": string\n}', 'A."b.c"']
  ])("%s", (_, text, name) => {
    const documented = text.replace("export", `${whole}export`)
    expect(room(documented)).toStrictEqual([`undocumented-member rooms ${name}`])
    const member = /^( *)(?=(?:readonly |static readonly |get )?(?:b\b|"b))/m
    expect(room(documented.replace(member, "$1/** What it is. */\n$1"))).toStrictEqual([])
    expect(room(documented.replace(member, "$1/** @since 0.1.0 */\n$1"))).toHaveLength(1)
  })

  it("a field that the base of a class is given, but for those of every error", () => {
    const text = (doc: string) =>
      [
        "declare const base: <A>(name: string, fields: A, others?: { readonly x: number }) => new () => A",
        `${whole}export class A extends base("A", {`,
        `  ${doc}b: 1,`,
        '  message: "",',
        "  cause: 1",
        "}, {",
        "  x: 1",
        "}) {}"
      ].join("\n")
    expect(room(text(""))).toStrictEqual(["undocumented-member rooms A.b"])
    expect(room(text("/** B. */\n  "))).toStrictEqual([])
  })

  it("a function that a constant gathers", () => {
    const text = (doc: string) => `${doc}const open = () => 1\n\n${whole}export const Doors = { open, size: 1 }`
    expect(room(text(""))).toStrictEqual(["undocumented-member rooms Doors.open"])
    expect(room(text("/** Opens. */\n"))).toStrictEqual([])
  })

  it("not what no user sees: private, internal, underscored, computed, and what is in bodies", () => {
    const text = [
      "export class A {",
      "  private b = 1",
      "  protected c = 1",
      "  #d = 1",
      "  /** @internal */",
      "  e = 1",
      "  _f = 1",
      "  [Symbol.iterator] = 1",
      "  /** G. */",
      "  g() {",
      "    const options: {",
      "      h: number",
      "    } = { h: 1 }",
      "    return options",
      "  }",
      "}"
    ]
    expect(room(whole + text.join("\n"))).toStrictEqual([])
  })

  it("a record on the line of its holder is described by the holder's docstring", () => {
    expect(room(`${whole}export interface A {\n  /** B. */\n  b: { c: string }\n}`)).toStrictEqual([])
  })

  it("counts what it has seen", () => {
    const text = `${whole}export interface A {\n  /** B. */\n  b: string\n  c: string\n}`
    const files = { "src/rooms/index.ts": 'export * from "./Room.js"', "src/rooms/Room.ts": text }
    expect(report(files)).toMatchObject({ exports: 1, members: 2 })
  })
})

describe("a report", () => {
  it("says the place, the rule, the name, and what to do", () => {
    const files = {
      "src/rooms/index.ts": 'export * from "./Room.js"',
      "src/rooms/Room.ts": `${whole}export interface A {\n  b: string\n}\n\nexport const c = 1`
    }
    expect(report(files).findings.map((finding) => formatFinding(manifest, finding))).toStrictEqual([
      "src/rooms/Room.ts:8 undocumented-member: house/rooms A.b: Say what it is, and its unit or default.",
      "src/rooms/Room.ts:11 undocumented: house/rooms c: Write a docstring for it: what it is, its units, what fails and how."
    ])
  })

  it("an entry without a source is a finding, not an entry without names", () => {
    const { findings } = checkDocs(program({ "src/rooms/index.ts": "export {}" }), root, manifest)
    expect(findings.map((finding) => formatFinding(manifest, finding))).toStrictEqual([
      "src/doors/index.ts:1 missing-entry: house/doors: src/doors/index.ts is missing, or is no module."
    ])
  })

  it("the categories are sorted and differ", () => {
    expect([...new Set(categories)].sort()).toStrictEqual([...categories])
  })
})

it("the reference has every entry of the exports map", () => {
  const read = (path: string): unknown =>
    JSON.parse(readFileSync(fileURLToPath(new URL(`../../${path}`, import.meta.url)), "utf8"))
  const { entryPoints } = read("typedoc.json") as { readonly entryPoints: ReadonlyArray<string> }
  expect([...entryPoints].sort()).toStrictEqual([...entriesOf(read("package.json") as Manifest).values()].sort())
})
