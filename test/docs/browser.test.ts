/** The page on browsers: its program bundles for one, is as large as the page says, and runs with what a browser has. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { buildSync } from "esbuild"
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { gzipSync } from "node:zlib"
import { CounterLive } from "../../examples/agents.js"
import { Authenticator } from "../../src/auth/index.js"
import { ArcpRuntime } from "../../src/runtime/index.js"
import { MemoryStore } from "../../src/store/index.js"
import { Server } from "../../src/transport/index.js"
import { WebSocketServer } from "../../src/transport/ws.js"
import { entriesOf } from "../../scripts/manifest.js"
import { ended, filesOf, installed, manifest, start } from "./installed.js"
import { blocksOf } from "./pages.js"

const page = readFileSync("docs/browser.md", "utf8")
const program = filesOf(page).get("main.ts") ?? ""

/** As the page's command does it. */
const bundled = (contents: string): string =>
  buildSync({
    stdin: { contents, loader: "ts", resolveDir: process.cwd() },
    bundle: true,
    minify: true,
    format: "esm",
    platform: "browser",
    write: false,
    logLevel: "silent",
    alias: Object.fromEntries(
      [...entriesOf(manifest)].map(([entry, source]) => [`${manifest.name}/${entry}`, join(process.cwd(), source)])
    )
  }).outputFiles[0]!.text

const kilobytes = (text: string): number => gzipSync(text).length / 1000

/** What a browser has beside Node 20: a page, its server's answer, and a WebSocket. */
const browser = `
import { WebSocket } from "ws"
const out = { textContent: "" }
process.once("exit", () => process.stdout.write(out.textContent))
globalThis.WebSocket = WebSocket
globalThis.document = { querySelector: () => out }
globalThis.fetch = async () => new Response("secret")
await import("./main.js")
`

const runtime = ArcpRuntime.layer().pipe(
  Layer.provide(CounterLive),
  Layer.provideMerge(WebSocketServer.layer({ port: 0 })),
  Layer.provide(Authenticator.layerBearer({ secret: "alice" })),
  Layer.provide(MemoryStore.layer)
)

describe("docs/browser.md", () => {
  it("its program is as large as it says, and the barrel adds what it says", () => {
    const size = kilobytes(bundled(program))
    const [, whole] = /about (\d+) KB gzipped/.exec(page) ?? []
    expect(Math.abs(size / Number(whole) - 1), `${size} KB`).toBeLessThan(0.05)
    const modules = /import \* as (\w+) from "effect\/\w+"\n/g
    const names = Array.from(program.matchAll(modules), ([, name]) => name)
    const barrel = `import { ${names.join(", ")} } from "effect"\n${program.replace(modules, "")}`
    const [, more] = /from "effect"` adds (\d+) KB/.exec(page) ?? []
    expect(Math.abs(kilobytes(bundled(barrel)) - size - Number(more))).toBeLessThan(4)
  })

  it.scopedLive("its program writes what it says", () =>
    Effect.gen(function* () {
      const { address } = yield* Server
      const folder = installed(new Map(), 0)
      const url = "wss://agents.example/arcp"
      expect(program).toContain(url)
      writeFileSync(join(folder, "main.js"), bundled(program.replace(url, address)))
      writeFileSync(join(folder, "browser.js"), browser)
      const ran = yield* Effect.promise(() => ended(start(folder, ["browser.js"])))
      const shown = blocksOf(page).find(({ language, words }) => language === "text" && words[0] === "main.ts")
      expect(ran).toEqual({ code: 0, out: shown?.text, err: "" })
    }).pipe(Effect.provide(runtime))
  )
})
