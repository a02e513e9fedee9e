/** Base64 by the native decoder, and by what every browser has. */
import { createContext, runInContext } from "node:vm"
import { describe, expect, it } from "@effect/vitest"
import * as base64 from "../../src/client/internal/base64.js"
import { bundleForBrowser } from "../bundle.js"

type Base64 = Pick<typeof base64, "decodeBase64" | "encodeBase64">

/** The same functions in a realm that has no `Buffer`. */
const inBrowser = (): Base64 => {
  const { text } = bundleForBrowser(
    `import * as base64 from "./src/client/internal/base64.js"\nfound = { ...base64 }`,
    "iife"
  )
  const realm: Record<string, unknown> = { found: undefined, atob, btoa }
  runInContext(text, createContext(realm))
  return realm.found as Base64
}

const bytesOf = (length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => (i * 7 + (i >> 8)) & 255)

const notBase64 = [
  ...["A", "AA", "AAA", "AAA=AAAA", "A===", "====", "=AAA", "AA=A"],
  ...["-_AA", "AAA\n", "AAA AAA=", "AAAA\r\nAA", "é===", "AA*="]
]

for (const [name, load] of [
  ["the native decoder", () => base64],
  ["what a browser has", inBrowser]
] as const) {
  describe(`§8.4 base64 by ${name}`, () => {
    it("is read back as it was written, at every length", { timeout: 30_000 }, () => {
      const { decodeBase64, encodeBase64 } = load()
      for (const length of [0, 1, 2, 3, 4, 5, 255, 256, 8_191, 8_192, 8_193, 70_001]) {
        const bytes = bytesOf(length)
        const text = encodeBase64(bytes)
        expect(text).toBe(Buffer.from(bytes).toString("base64"))
        expect([...decodeBase64(text)!]).toEqual([...bytes])
      }
    })

    it("is refused where it is not of RFC 4648 §4 with its padding", { timeout: 30_000 }, () => {
      const { decodeBase64 } = load()
      for (const text of notBase64) expect([text, decodeBase64(text)]).toEqual([text, undefined])
    })
  })
}
