import { describe, expect, it } from "@effect/vitest"
import { checkSurface, formatViolation } from "../../scripts/surface.js"
import { empty, manifest, surface } from "../support/declarations.js"

/** What is found, as `rule entry name > refersTo`. */
const check = (files: Readonly<Record<string, string>>): ReadonlyArray<string> =>
  checkSurface(surface({ ...empty, ...files })).map(({ entry, name, refersTo, rule }) =>
    `${rule} ${entry} ${name}${refersTo === "" ? "" : ` > ${refersTo}`}`.trim()
  )

describe("what a user can import", () => {
  it("names what entries export, behind namespaces too, each once for each way to write it", () => {
    const files = {
      ...empty,
      "rooms/index.d.ts": 'export * from "./Room.js"\nexport * as Key from "./Key.js"',
      "rooms/Room.d.ts": "/** A room. */\nexport interface Room {}",
      "rooms/Key.d.ts":
        "/** Keys. */\n/** A key. */\nexport interface Key {}\n/** Cuts. */\nexport declare const cut: Key"
    }
    const { entries } = surface(files)
    expect(entries.get("rooms")?.map(({ name }) => name)).toStrictEqual(["Key", "Key.Key", "Key.cut", "Room"])
    expect(check(files)).toStrictEqual([])
  })

  it("an entry without declarations is a violation, not an entry without names", () => {
    const violations = checkSurface(surface({ "rooms/index.d.ts": "export {}" }))
    expect(violations.map((violation) => formatViolation(manifest, violation))).toStrictEqual([
      "dist/doors/index.d.ts:1 missing-entry: house/doors: Its declarations are missing, or are no module. Build the package first: npm run build."
    ])
  })
})

describe("declarations that do not compile", () => {
  it("a public declaration that mentions a name that was left out is a violation", () => {
    const found = checkSurface(
      surface({ ...empty, "rooms/index.d.ts": "/** Opens. */\nexport declare const open: () => Room" })
    )
    expect(found.map((violation) => formatViolation(manifest, violation))).toStrictEqual([
      "dist/rooms/index.d.ts:2 broken: Cannot find name 'Room'. Is a name of it marked as @internal, which the build leaves out? Then do not mention it."
    ])
  })
})

describe("names that no user can write", () => {
  const room = (text: string, more: Readonly<Record<string, string>> = {}) =>
    check({ "rooms/index.d.ts": 'export * from "./Room.js"', "rooms/Room.d.ts": text, ...more })

  it("reports the place, the exported name, the name that is missing, and what to do", () => {
    const found = checkSurface(
      surface({
        ...empty,
        "rooms/index.d.ts": 'export { open } from "./Room.js"',
        "rooms/Room.d.ts": "export interface Room {}\n/** Opens. */\nexport declare const open: () => Room"
      })
    )
    expect(found.map((violation) => formatViolation(manifest, violation))).toStrictEqual([
      "dist/rooms/Room.d.ts:3 not-nameable: house/rooms open: No entry exports Room (dist/rooms/Room.d.ts:1). Export it from an entry, or write the type without it."
    ])
  })

  it("an alias that is nothing else than a type is a name of it; one that makes another of it is not", () => {
    const text = "export interface Hidden {}\n/** Opens. */\nexport declare const open: () => Hidden\n"
    expect(
      room(`${text}/** Seen. */\nexport type Seen = Hidden`, {
        "rooms/index.d.ts": 'export { open, type Seen } from "./Room.js"'
      })
    ).toStrictEqual([])
    expect(
      room(`${text}/** Seen. */\nexport type Seen = Partial<Hidden>`, {
        "rooms/index.d.ts": 'export { open, type Seen } from "./Room.js"'
      })
    ).toContain("not-nameable rooms open > Hidden")
  })

  it.each([
    ["a parameter", "export declare const f: (x: Hidden) => void"],
    ["a result inside another type", "export declare function f(): ReadonlyArray<Hidden>"],
    ["a member of an interface", "export interface f { readonly x: Hidden }"],
    ["a static field of a class", "export declare class f { static readonly x: Hidden }"],
    [
      "a field behind a base class",
      "export declare class f extends f_base {}\ndeclare const f_base: new () => { x: Hidden }"
    ],
    ["an interface that it extends", "export interface f extends Hidden {}"],
    ["an alias", "export type f = Hidden | undefined"],
    ["the bound of a type parameter", "export type f<X extends Hidden> = X"],
    ["the type of a value", "export declare const f: typeof hidden"]
  ])("%s", (_, text) => {
    const name = text.includes("typeof hidden") ? "hidden" : "Hidden"
    const hidden = "interface Hidden { y: number }\ndeclare const hidden: number"
    expect(room(`${hidden}\n/** It. */\n${text}\nexport {}`)).toStrictEqual([`not-nameable rooms f > ${name}`])
  })

  it("a type by import() in the middle of a declaration, as the compiler writes what was inferred", () => {
    const found = room('/** F. */\nexport declare const f: import("./Hidden.js").Hidden', {
      "rooms/Hidden.d.ts": "export interface Hidden {}"
    })
    expect(found).toStrictEqual(["not-nameable rooms f > Hidden"])
  })

  it("what a hidden type refers to is hidden as well", () => {
    const found = room(
      "interface Inner {}\ninterface Outer { x: Inner }\n/** F. */\nexport declare const f: Outer\nexport {}"
    )
    expect(found).toStrictEqual(["not-nameable rooms f > Outer", "not-nameable rooms f > Inner"])
  })

  it("another entry may export the name, also under another name and behind a namespace", () => {
    const text = '/** F. */\nexport declare const f: import("../doors/Door.js").Door'
    const door = { "doors/Door.d.ts": "/** D. */\nexport interface Door {}" }
    expect(room(text, door)).toStrictEqual(["not-nameable rooms f > Door"])
    expect(room(text, { ...door, "doors/index.d.ts": 'export { Door as Gate } from "./Door.js"' })).toStrictEqual([])
    const namespace = 'export * from "./Door.js"\n/** Doors. */\nexport * as Doors from "./Door.js"'
    expect(room(text, { ...door, "doors/index.d.ts": namespace })).toStrictEqual([])
  })

  it("members, type parameters, the base of a class and the library's types need no export", () => {
    const text = [
      "declare const Room_base: new () => { size: number }",
      "/** R. */",
      "export declare class Room extends Room_base { readonly doors: Array<string> }",
      "/** S. */",
      'export type Size<X extends Room> = X["size"] | Room.Inner',
      "/** N. */",
      "export declare namespace Room { type Inner = number }",
      "export {}"
    ]
    expect(room(text.join("\n"))).toStrictEqual([])
  })
})

describe("what the exports map closes", () => {
  const hidden = { "rooms/internal/hidden.d.ts": "/** H. */\nexport interface Hidden {}" }

  it("a public declaration mentions nothing of it", () => {
    const found = check({
      ...hidden,
      "rooms/index.d.ts": '/** F. */\nexport declare const f: import("./internal/hidden.js").Hidden'
    })
    expect(found).toStrictEqual(["internal rooms f > Hidden"])
  })

  it("an entry exports nothing of it, under whatever name", () => {
    const found = check({
      ...hidden,
      "rooms/index.d.ts": 'export type { Hidden as Shown } from "./internal/hidden.js"'
    })
    expect(found).toStrictEqual(["internal rooms Shown"])
  })
})

describe("documentation", () => {
  it("every exported name has a docstring", () => {
    const files = {
      "rooms/index.d.ts": 'export * from "./Room.js"\nexport * as Key from "./Key.js"',
      "rooms/Room.d.ts":
        "export interface Room {}\nexport declare const size: number\n// no docstring\nexport type Id = string",
      "rooms/Key.d.ts": "export {}"
    }
    expect(check(files)).toStrictEqual([
      "undocumented rooms Id",
      "undocumented rooms Key",
      "undocumented rooms Room",
      "undocumented rooms size"
    ])
  })

  it("the head of a file, or a comment at its export, documents a namespace", () => {
    const index = 'export * as Key from "./Key.js"'
    expect(check({ "rooms/index.d.ts": `/** Keys. */\n${index}`, "rooms/Key.d.ts": "export {}" })).toStrictEqual([])
    expect(check({ "rooms/index.d.ts": index, "rooms/Key.d.ts": "/** Keys. */\nexport {}" })).toStrictEqual([])
  })
})
