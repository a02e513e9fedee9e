import { readFileSync } from "node:fs"
import { describe, expect, it } from "@effect/vitest"
import { packageName, packageVersion } from "../../src/protocol/Package.js"

describe("the package's name and version", () => {
  it("are those of package.json", () => {
    const manifest = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"))
    expect({ name: packageName, version: packageVersion }).toEqual({ name: manifest.name, version: manifest.version })
  })
})
