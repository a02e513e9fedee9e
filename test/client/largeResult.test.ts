import { expect, it } from "vitest"
import { runLarge } from "../support/runLarge.js"

// `npm run large` does it with 1 GiB.
it("§8.4 bytes takes constant memory: a result of 128 MiB reaches a file through a heap of 64 MiB", async () => {
  const { code, error, out } = await runLarge(128, 64)
  expect(code, error).toBe(0)
  expect(JSON.parse(out)).toMatchObject({ size: 128 * 1_048_576, result: "ResultStreamed" })
}, 120_000)
