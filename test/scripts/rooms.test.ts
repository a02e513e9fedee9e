import { describe, expect, it } from "@effect/vitest"
import { entriesOf, type Manifest } from "../../scripts/manifest.js"
import { checkPackage, checkSources, format } from "../../scripts/rooms.js"

const entry = (path: string) => ({ types: `./dist/${path}.d.ts`, default: `./dist/${path}.js` })

const manifest: Manifest = {
  name: "effect-arcp",
  bin: { arcp: "./dist/cli/bin.js" },
  exports: {
    "./package.json": "./package.json",
    "./internal/*": null,
    "./*/internal/*": null,
    "./protocol": entry("protocol/index"),
    "./transport": entry("transport/index"),
    "./transport/node": entry("transport/node"),
    "./store": entry("store/index"),
    "./store/sql": entry("store/sql"),
    "./runtime": entry("runtime/index"),
    "./client": entry("client/index")
  },
  peerDependencies: {
    effect: "^3.22.2",
    "@effect/platform": "^0.97.2",
    "@effect/platform-node": "^0.108.2",
    "@effect/sql": "^0.52.1",
    ws: "^8.18.0"
  },
  peerDependenciesMeta: {
    "@effect/platform-node": { optional: true },
    "@effect/sql": { optional: true },
    ws: { optional: true }
  }
}

/** What is said about a set of files, as `path:line:column rule`. */
const check = (files: Record<string, string>) =>
  checkSources(
    Object.entries(files).map(([path, text]) => ({ path, text })),
    manifest
  )
const found = (files: Record<string, string>) =>
  check(files).map(({ column, line, path, rule }) => `${path}:${line}:${column} ${rule}`)
const rules = (path: string, text: string) => check({ [path]: text }).map(({ rule }) => rule)

describe("the import rule between rooms", () => {
  const allowed = {
    authority: ["protocol"],
    transport: ["protocol"],
    store: ["protocol"],
    auth: ["protocol"],
    agent: ["protocol", "authority"],
    runtime: ["protocol", "authority", "transport", "store", "auth", "agent"],
    client: ["protocol", "transport"],
    testing: ["protocol", "authority", "transport", "store", "auth", "agent", "runtime", "client"],
    cli: ["protocol", "authority", "transport", "store", "auth", "agent", "runtime", "client", "testing"]
  }
  const rooms = ["protocol", ...Object.keys(allowed)]

  it("allows the design's table, and nothing else", () => {
    for (const room of rooms) {
      for (const other of rooms) {
        const may = room === other || (allowed[room as keyof typeof allowed] ?? []).includes(other)
        const said = rules(`src/${room}/A.ts`, `import { x } from "../${other}/B.js"`)
        expect(said, `${room} -> ${other}`).toEqual(may ? [] : ["room-import"])
      }
    }
  })

  it("finds every way to name a module, at its place", () => {
    const path = "src/protocol/A.ts"
    for (const statement of [
      `import { x } from "../runtime/B.js"`,
      `import "../runtime/B.js"`,
      `import type { X } from "../runtime/B.js"`,
      `import {\n  type X,\n  y\n} from "../runtime/B.js"`,
      `export * from "../runtime/B.js"`,
      `export type { X } from "../runtime/B.js"`,
      `export * as B from '../runtime/B.js'`
    ]) {
      expect(found({ [path]: `// head\n${statement}\n` }), statement).toEqual([`${path}:2:1 room-import`])
    }
    expect(found({ [path]: `const x = import("../runtime/B.js")` })).toEqual([`${path}:1:11 room-import`])
    expect(found({ [path]: `type X = import("../runtime/B.js").X` })).toEqual([`${path}:1:10 room-import`])
    expect(found({ [path]: `const x = \`\${import(\`../runtime/B.js\`)}\`` })).toEqual([`${path}:1:14 room-import`])
  })

  it("does not take comments and strings for imports", () => {
    expect(rules("src/protocol/A.ts", `// import "../runtime/B.js"\n/** import "../cli/C.js" */\nexport {}`)).toEqual(
      []
    )
    expect(rules("src/protocol/A.ts", `export const x = 'import "../runtime/B.js"'`)).toEqual([])
  })

  it("follows the folder a file lies in", () => {
    expect(rules("src/client/internal/a.ts", `import { x } from "../../store/Store.js"`)).toEqual(["room-import"])
    expect(rules("src/client/internal/a.ts", `import { x } from "../../protocol/Ids.js"`)).toEqual([])
  })

  it("closes another room's internals, not its own", () => {
    expect(rules("src/runtime/A.ts", `import type { X } from "../transport/internal/Y.js"`)).toEqual(["room-internal"])
    expect(rules("src/transport/A.ts", `import type { X } from "./internal/Y.js"`)).toEqual([])
  })

  describe("within the runtime", () => {
    const floors = [["kernel"], ["log"], ["credentials", "artifacts"], ["jobs"], ["sessions"]]
    const subRooms = floors.flatMap((floor, i) => floor.map((name) => ({ name, i })))

    it("lets a room use what lies below it, and neither its neighbour nor what lies above", () => {
      for (const { i, name } of subRooms) {
        for (const other of subRooms) {
          const said = rules(`src/runtime/${name}/A.ts`, `import { x } from "../${other.name}/B.js"`)
          const may = name === other.name || other.i < i
          expect(said, `${name} -> ${other.name}`).toEqual(may ? [] : ["room-import"])
        }
        expect(rules(`src/runtime/${name}/A.ts`, `import { x } from "../ArcpRuntime.js"`), name).toEqual([
          "room-import"
        ])
        expect(rules(`src/runtime/${name}/deep/A.ts`, `import { x } from "../../../store/Store.js"`), name).toEqual([])
        expect(rules(`src/runtime/${name}/A.ts`, `import { x } from "../../client/C.js"`), name).toEqual([
          "room-import"
        ])
      }
    })

    it("closes the folders of a room to the others, the runtime around it included", () => {
      for (const folder of ["internal", "handler", "handler/deep"]) {
        const target = `../jobs/${folder}/X.js`
        expect(rules("src/runtime/sessions/A.ts", `import { x } from "${target}"`), folder).toEqual(["room-internal"])
        expect(rules("src/runtime/A.ts", `import type { X } from "./jobs/${folder}/X.js"`), folder).toEqual([
          "room-internal"
        ])
        expect(rules("src/runtime/jobs/A.ts", `import { x } from "./${folder}/X.js"`), folder).toEqual([])
        expect(rules(`src/runtime/jobs/${folder}/A.ts`, `import { x } from "./X.js"`), folder).toEqual([])
      }
    })

    it("is seen from outside by the runtime's own files only", () => {
      expect(rules("src/cli/A.ts", `import { x } from "../runtime/jobs/JobScheduler.js"`)).toEqual(["room-import"])
      expect(rules("src/testing/A.ts", `import { x } from "../runtime/index.js"`)).toEqual([])
      expect(rules("src/runtime/index.ts", `export * from "./sessions/Sessions.js"`)).toEqual([])
    })
  })

  it("refuses ways around: out of src, by the package's own name, by an expression", () => {
    expect(rules("src/cli/A.ts", `import { x } from "../../test/world.js"`)).toEqual(["room-import"])
    expect(rules("src/client/A.ts", `import { x } from "effect-arcp/runtime"`)).toEqual(["room-import"])
    expect(rules("src/cli/A.ts", `export const load = (name: string) => import(name)`)).toEqual(["edge"])
    expect(
      rules("src/cli/A.ts", `// edge: the user's own module\nexport const load = (n: string) => import(n)`)
    ).toEqual([])
  })

  it("says what to do", () => {
    const [first] = check({ "src/client/A.ts": `import { x } from "../store/B.js"` })
    expect(first === undefined ? "" : format(first)).toBe(
      "src/client/A.ts:1:1 room-import: client may not import store (it may import protocol, transport). Move what both need into a room that both may import, or take it as a service."
    )
  })
})

describe("packages", () => {
  it("keeps the barrels, and what no user has, out of src", () => {
    expect(rules("src/runtime/A.ts", `import { Effect } from "effect"`)).toEqual(["barrel"])
    expect(rules("src/runtime/A.ts", `import type { FileSystem } from "@effect/platform"`)).toEqual(["barrel"])
    expect(rules("src/runtime/A.ts", `import * as Effect from "effect/Effect"`)).toEqual([])
    expect(rules("src/runtime/A.ts", `import { it } from "vitest"`)).toEqual(["room-package"])
    expect(rules("src/protocol/A.ts", `import * as P from "@effect/platform/FileSystem"`)).toEqual(["room-package"])
    expect(rules("src/runtime/A.ts", `import { join } from "path"`)).toEqual(["node-prefix"])
    expect(rules("test/a.test.ts", `import { Effect } from "effect"`)).toEqual([])
  })

  it("keeps an optional peer behind the entry that is for it, however far away", () => {
    const files = {
      "src/store/index.ts": `export * from "./Store.js"`,
      "src/store/Store.ts": `export {}`,
      "src/store/sql.ts": `export * from "./SqlStore.js"`,
      "src/store/SqlStore.ts": `import * as SqlClient from "@effect/sql/SqlClient"\nexport const x = SqlClient`
    }
    expect(found(files)).toEqual([])
    const leaky = { ...files, "src/store/Store.ts": `import type { X } from "./SqlStore.js"` }
    expect(check(leaky).map((said) => format(said))).toEqual([
      "src/store/SqlStore.ts:1:1 optional-peer: Users of effect-arcp/store may lack the optional peer @effect/sql, which it loads by store/index.ts -> store/Store.ts -> store/SqlStore.ts. Move it behind an entry of its own."
    ])
  })

  it("lets the agents' entry for Node reach the platform's Node package, and no other entry of theirs", () => {
    const withAgents: Manifest = {
      ...manifest,
      exports: { ...manifest.exports, "./agent": entry("agent/index"), "./agent/node": entry("agent/node") },
      peerDependencies: { ...manifest.peerDependencies, "@effect/platform-node": "^0.108.2" },
      peerDependenciesMeta: { ...manifest.peerDependenciesMeta, "@effect/platform-node": { optional: true } }
    }
    const said = (files: Record<string, string>) =>
      checkSources(
        Object.entries(files).map(([path, text]) => ({ path, text })),
        withAgents
      ).map(({ path, rule }) => `${path} ${rule}`)
    const files = {
      "src/agent/index.ts": `export * from "./Agent.js"`,
      "src/agent/Agent.ts": `export {}`,
      "src/agent/node.ts": `export * from "./PinnedHttpClient.js"`,
      "src/agent/PinnedHttpClient.ts": `import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"\nexport const x = NodeHttpClient`
    }
    expect(said(files)).toEqual([])
    expect(said({ ...files, "src/agent/Agent.ts": `export * from "./PinnedHttpClient.js"` })).toEqual([
      "src/agent/PinnedHttpClient.ts optional-peer"
    ])
  })

  it("lets an optional peer be loaded where it is installed, by import() and by the files of the table only", () => {
    const files = (load: string) => ({
      "src/runtime/index.ts": `export * from "./jobs/Run.js"\nexport * from "./Other.js"`,
      "src/runtime/jobs/Run.ts": `export * from "./handler/nodeDrivers.js"`,
      "src/runtime/Other.ts": `export {}`,
      "src/runtime/jobs/handler/nodeDrivers.ts": load
    })
    const load = `export const load = () => import("@effect/platform-node/NodeFileSystem")`
    expect(found(files(load))).toEqual([])
    expect(found({ ...files(load), "src/runtime/Other.ts": load })).toEqual(["src/runtime/Other.ts:1:27 optional-peer"])
    for (const kept of [
      `import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"\nexport const x = NodeFileSystem`,
      `export type X = typeof import("@effect/platform-node/NodeFileSystem")`
    ]) {
      expect(check(files(kept)).map(({ rule }) => rule)).toEqual(["optional-peer"])
    }
  })
})

describe("what runs in a browser", () => {
  it("uses nothing of Node, types and globals included", () => {
    for (const room of ["protocol", "authority", "client"]) {
      expect(rules(`src/${room}/A.ts`, `import type { Socket } from "node:net"`), room).toEqual(["browser"])
      expect(rules(`src/${room}/A.ts`, `export const x = Buffer.from("")`), room).toEqual(["browser"])
      expect(rules(`src/${room}/A.ts`, `export const x = globalThis.process.pid`), room).toEqual(["browser"])
    }
    expect(rules("src/protocol/A.ts", `export const x = (process: number) => process + 1`)).toEqual([])
    expect(rules("src/protocol/A.ts", `export const x = { process: 1 }.process`)).toEqual([])
    expect(rules("src/runtime/A.ts", `import { Buffer } from "node:buffer"\nexport const x = Buffer`)).toEqual([])
  })

  it("in transport, is what its browser entry reaches; the rest needs an entry for Node", () => {
    const node = `import { WebSocket } from "ws"\nimport type { Socket } from "node:net"`
    const files = {
      "src/transport/index.ts": `export * from "./Connection.js"`,
      "src/transport/Connection.ts": `export {}`,
      "src/transport/node.ts": `export * from "./WebSocketServer.js"`,
      "src/transport/WebSocketServer.ts": `export * from "./internal/driver.js"`,
      "src/transport/internal/driver.ts": node
    }
    expect(found(files)).toEqual([])
    expect(found({ ...files, "src/transport/Lost.ts": node })).toEqual([
      "src/transport/Lost.ts:1:1 browser",
      "src/transport/Lost.ts:2:1 browser"
    ])
    const leaky = { ...files, "src/transport/Connection.ts": `export { x } from "./internal/driver.js"` }
    const said = check(leaky).filter(({ rule }) => rule === "browser")
    expect(said.map(({ line, path }) => `${path}:${line}`)).toEqual([
      "src/transport/internal/driver.ts:1",
      "src/transport/internal/driver.ts:2"
    ])
    expect(said[0]?.message).toContain("transport/index.ts -> transport/Connection.ts -> transport/internal/driver.ts")
  })

  it("is reached through other rooms too", () => {
    const files = {
      "src/client/index.ts": `export * from "../transport/WebSocketClient.js"`,
      "src/transport/node.ts": `export * from "./WebSocketClient.js"`,
      "src/transport/WebSocketClient.ts": `import * as Tls from "node:tls"\nexport const x = Tls`
    }
    expect(found(files)).toEqual(["src/transport/WebSocketClient.ts:1:1 browser"])
  })
})

describe("what only a driver's edge may do", () => {
  const uses = [
    "Date.now()",
    "new Date()",
    "new Date(0)",
    "performance.now()",
    "setTimeout(f, 1)",
    "globalThis.setInterval(f, 1)",
    "setImmediate(f)",
    "Math.random()",
    "throw x",
    "new Promise(f)",
    "Promise.all([])",
    "await f()",
    "const f = async () => 1",
    "type X = Promise<void>",
    "const x: any = 1",
    "const x = y as any",
    "type X = Map<string, any>"
  ]

  it("is found anywhere in src", () => {
    for (const use of uses) {
      expect(rules("src/runtime/A.ts", use), use).toEqual(["edge"])
      expect(rules("src/cli/A.ts", `const g = () => {\n  if (a) {\n    ${use}\n  }\n}`), use).toEqual(["edge"])
      expect(rules("src/runtime/A.ts", `export const x = \`a \${b} c\`\n${use}`), use).toEqual(["edge"])
      expect(rules("test/A.ts", use), use).toEqual([])
    }
  })

  it("is excused by a reason on the line, above it, or above its statement; not by less", () => {
    for (const use of uses) {
      expect(rules("src/runtime/A.ts", `${use} // edge: the driver's clock`), use).toEqual([])
      expect(rules("src/runtime/A.ts", `// edge: the driver's clock\n${use}`), use).toEqual([])
      expect(rules("src/runtime/A.ts", `// edge: the driver's clock,\n// said over two lines\n${use}`), use).toEqual([])
      expect(rules("src/runtime/A.ts", `// edge:\n${use}`), use).toEqual(["edge"])
      expect(rules("src/runtime/A.ts", `// edgy\n${use}`), use).toEqual(["edge"])
      expect(rules("src/runtime/A.ts", `// edge: of something else\nf()\n${use}`), use).toEqual(["edge"])
      expect(rules("src/runtime/A.ts", `// edge: a whole function\nfunction f() {\n${use}\n}`), use).toEqual(["edge"])
    }
    expect(
      rules("src/runtime/A.ts", "// edge: the loop itself\nconst defer =\n  has\n    ? (f) => setTimeout(f)\n    : g")
    ).toEqual([])
  })

  it("is not a word in a comment, a string, a property or a bare typeof", () => {
    for (const use of uses) {
      expect(rules("src/runtime/A.ts", `// ${use}\n/* ${use} */\n/** ${use} */\nexport {}`), use).toEqual([])
      expect(rules("src/runtime/A.ts", `export const x = ${JSON.stringify(use)}`), use).toEqual([])
    }
    for (const fine of [
      "Effect.promise",
      "x.setTimeout(1)",
      "Date.parse(text)",
      "let t: ReturnType<typeof setTimeout>",
      "typeof setImmediate",
      "Effect.async(f)",
      "const x = { setTimeout: 1, any: 2 }",
      "company"
    ]) {
      expect(rules("src/runtime/A.ts", fine), fine).toEqual([])
    }
  })
})

describe("examples and tests", () => {
  it("examples import the package by its name", () => {
    expect(rules("examples/a.ts", `import { x } from "../src/client/index.js"`)).toEqual(["example"])
    expect(rules("examples/a.ts", `import { x } from "effect-arcp/client"\nimport { y } from "./agents.js"`)).toEqual(
      []
    )
  })

  it("no test is left out", () => {
    for (const left of ["it.only", "it.effect.only", "it.scopedLive.skip", "describe.skip", "it.todo"]) {
      expect(rules("test/a.test.ts", `${left}("x", () => {})`), left).toEqual(["test"])
    }
    expect(rules("test/a.test.ts", `it.effect.skipIf(windows)("x", f)\nstream.skip("x")`)).toEqual([])
  })
})

describe("the package", () => {
  const paths = [...entriesOf(manifest).values(), "src/cli/bin.ts"]
  const mapped = Object.fromEntries(
    [...entriesOf(manifest)].map(([name, path]) => [`effect-arcp/${name}`, [`./${path}`]])
  )
  const said = (...args: Parameters<typeof checkPackage>) => checkPackage(...args).map(({ message }) => message)

  it("exports what is there, under the names that the type checker knows", () => {
    expect(said(paths, manifest, mapped)).toEqual([])
  })

  it("finds an entry or a program without a source, and a room without an entry", () => {
    expect(said(paths.slice(1), manifest, mapped)).toEqual([
      `"./protocol" is exported, but there is no src/protocol/index.ts.`
    ])
    expect(said(paths.slice(0, -1), manifest, mapped)).toEqual([
      "The program arcp is ./dist/cli/bin.js, but there is no src/cli/bin.ts."
    ])
    expect(said([...paths, "src/auth/index.ts"], manifest, mapped)).toEqual(["The room auth is not exported."])
    expect(said([...paths, "src/client/Index.ts"], manifest, mapped)).toEqual([
      "It differs from src/client/index.ts in case only, and many file systems hold one of them."
    ])
    expect(said([...paths, "src/attic/index.ts"], manifest, mapped)[0]).toContain("attic is no room")
  })

  it("finds paths that differ from the exports, open internals and unknown optional peers", () => {
    expect(said(paths, manifest, { ...mapped, "effect-arcp/client": ["./src/client.ts"] })).toHaveLength(1)
    expect(said(paths, manifest, { ...mapped, "effect-arcp/*": ["./src/*/index.ts"] })).toHaveLength(1)
    const { "./*/internal/*": _, ...open } = manifest.exports
    expect(said(paths, { ...manifest, exports: open }, mapped)).toHaveLength(1)
    const meta = { ...manifest.peerDependenciesMeta, redis: { optional: true } }
    expect(said(paths, { ...manifest, peerDependenciesMeta: meta }, mapped)[0]).toContain("redis")
  })
})
