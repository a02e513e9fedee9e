import { describe, expect, it } from "@effect/vitest"
import { compare, fileOf, formatDifference, linesOf, reportOf } from "../../scripts/apiReport.js"
import { empty, surface } from "../support/declarations.js"

const report = (files: Readonly<Record<string, string>>) => {
  const text = reportOf(surface({ ...empty, ...files }), "rooms")
  return text.slice(text.indexOf("```ts\n") + 6, text.lastIndexOf("\n```"))
}

describe("the report of an entry", () => {
  it("has every name, sorted, with its declaration and without comments", () => {
    const files = {
      "rooms/index.d.ts": 'export * from "./Room.js"\nexport * as Key from "./Key.js"',
      "rooms/Room.d.ts": [
        "declare const Room_base: new () => { size: number };",
        "/** A room. */",
        "export declare class Room extends Room_base {",
        "    /** Its doors. */",
        "    readonly doors: Array<string>;",
        "}",
        "interface Hidden {}",
        "/** Opens. */",
        "export declare function open(room: Room): void;",
        "export declare const count: number, most: 5;",
        "export type Id = string | undefined;",
        "export {};"
      ].join("\n"),
      "rooms/Key.d.ts": "export interface Key {}\nexport declare const Key: Key;"
    }
    expect(report(files)).toBe(
      [
        "type Id = string | undefined",
        "namespace Key {",
        "  interface Key {",
        "  }",
        "  const Key: Key",
        "}",
        "const Room_base: new () => {",
        "    size: number;",
        "}",
        "class Room extends Room_base {",
        "    readonly doors: Array<string>;",
        "}",
        "const count: number",
        "const most: 5",
        "function open(room: Room): void"
      ].join("\n")
    )
  })

  it("does not change with the order in which a module declares and exports", () => {
    const [a, b] = ["export interface A {}", "export interface B {}"]
    const index = (order: string) => ({ "rooms/index.d.ts": order })
    expect(report(index(`${a}\n${b}`))).toBe(report(index(`${b}\n${a}`)))
  })

  it("says under which name something is declared", () => {
    const files = {
      "rooms/index.d.ts": 'export { open as enter } from "./Room.js"',
      "rooms/Room.d.ts": "export declare const open: number;"
    }
    expect(report(files)).toBe("// enter is open\nconst open: number")
  })

  it("has a file for each entry", () => {
    expect([fileOf("client"), fileOf("transport/node")]).toEqual(["client.api.md", "transport.node.api.md"])
  })
})

describe("what differs from the committed reports", () => {
  const committed = new Map([
    ["a.api.md", "one\ntwo\nthree\nfour"],
    ["gone.api.md", "x"],
    ["same.api.md", "x"]
  ])
  const current = new Map([
    ["a.api.md", "one\n2\nthree\nnew\nfour"],
    ["new.api.md", "x"],
    ["same.api.md", "x"]
  ])

  it("is nothing where all is the same", () => {
    expect(compare(current, current)).toEqual([])
  })

  it("is told by file, with the lines and what to do", () => {
    expect(compare(committed, current).map(formatDifference)).toEqual([
      [
        'a.api.md: the public surface has changed ("-" is gone, "+" is new):',
        "  - 2: two",
        "  + 2: 2",
        "  + 4: new"
      ].join("\n"),
      "gone.api.md: a report of what is no entry. Delete it: npm run api",
      "new.api.md: an entry without a report. Write it: npm run api"
    ])
  })

  it("is bounded, and says how much more there is", () => {
    const text = formatDifference({
      file: "a",
      kind: "changed",
      lines: linesOf("", Array.from({ length: 100 }, String).join("\n"))
    })
    expect(text.split("\n")).toHaveLength(62)
    expect(text).toMatch(/and 41 lines more$/)
  })
})
