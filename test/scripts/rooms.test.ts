import { describe, expect, it } from "@effect/vitest"
import { check } from "../../scripts/rooms.js"

const messages = (file: string, text: string) => check(file, text).map((f) => `${f.line}: ${f.message}`)

describe("the rules of the house", () => {
  it("finds imports that point up, sideways or inside", () => {
    expect(messages("src/protocol/A.ts", `import { x } from "../runtime/B.js"\n`)[0]).toContain(
      "1: protocol may not import runtime"
    )
    expect(messages("src/client/A.ts", `\nexport * from "../store/B.js"`)[0]).toContain(
      "2: client may not import store"
    )
    expect(messages("src/runtime/A.ts", `import type { X } from "../transport/internal/Y.js"`)[0]).toContain("internal")
    expect(messages("src/runtime/A.ts", `const x = import("../client/Y.js")`)[0]).toContain("may not import client")
    expect(messages("src/attic/A.ts", "")[0]).toContain("no room")
  })

  it("finds what does not run in a browser, and the barrel", () => {
    expect(messages("src/client/A.ts", `import { Buffer } from "node:buffer"`)[0]).toContain("browser")
    expect(messages("src/transport/WebSocketGlobal.ts", `import WS from "ws"`)[0]).toContain("browser")
    expect(messages("src/transport/WebSocketServer.ts", `import WS from "ws"`)).toEqual([])
    expect(messages("src/runtime/A.ts", `import { Effect } from "effect"`)[0]).toContain("barrel")
  })

  it("finds bare time, timers, randomness, promises, throw and any, but not in comments, strings and at an edge", () => {
    for (const line of [
      "Date.now()",
      "new Date()",
      "setTimeout(f, 1)",
      "Math.random()",
      "await f()",
      "throw x",
      "const x: any = 1"
    ]) {
      expect(messages("src/runtime/A.ts", line).length, line).toBe(1)
      expect(messages("src/runtime/A.ts", `// ${line}`), line).toEqual([])
      expect(messages("src/runtime/A.ts", `"${line}"`), line).toEqual([])
      expect(messages("src/runtime/A.ts", `\`a \${b} ${line}\`\n${line}`).length, line).toBe(1)
      expect(messages("src/runtime/A.ts", `// edge: a driver\n${line}`), line).toEqual([])
    }
  })

  it("lets good files pass", () => {
    expect(
      messages("src/runtime/A.ts", `import * as Effect from "effect/Effect"\nimport { X } from "../store/Store.js"`)
    ).toEqual([])
  })
})
