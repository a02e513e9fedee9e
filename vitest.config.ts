import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"

const room = (path: string) => fileURLToPath(new URL(`./src/${path}`, import.meta.url))

export default defineConfig({
  resolve: {
    alias: [
      { find: /^effect-arcp\/transport\/node$/, replacement: room("transport/node.ts") },
      { find: /^effect-arcp\/store\/(sql|sqlite)$/, replacement: room("store/$1.ts") },
      { find: /^effect-arcp\/auth\/jwt$/, replacement: room("auth/jwt.ts") },
      { find: /^effect-arcp\/([a-z]+)$/, replacement: room("$1/index.ts") }
    ]
  },
  test: {
    include: ["test/**/*.test.ts"],
    pool: "forks",
    testTimeout: 30_000,
    hookTimeout: 30_000,
    reporters: ["default"]
  }
})
