/** The README as a registry shows it: without the files beside it, so that every link of it is absolute. */
import { describe, expect, it } from "@effect/vitest"
import { existsSync, readFileSync } from "node:fs"
import { type Install, installs } from "../../scripts/installs.js"
import { absolute, baseOf } from "../../scripts/readme-links.js"

const base = baseOf({ name: "p", version: "1.2.3" })

describe("the published README", () => {
  it("names for each use the packages that it needs, with the ranges of package.json", () => {
    const rows = readFileSync("README.md", "utf8")
      .split("\n")
      .filter((line) => /^\| [^|]+ \| .*`.*@\^/.test(line))
    const rowOf = (use: string) => rows.find((row) => row.startsWith(`| ${use} |`))
    const packagesIn = (use: string) => (rowOf(use)?.match(/[@\w][\w@/-]*@\^[\d.]+/g) ?? []).toSorted()
    const beside = ({ packages }: Install) =>
      packages.filter((name) => !installs.host.packages.includes(name)).toSorted()
    expect(packagesIn("a host over WebSocket")).toEqual([...installs.host.packages].toSorted())
    expect(packagesIn("… with a SQLite store")).toEqual(beside(installs.durable))
    expect(packagesIn("… with signed JWTs")).toEqual(beside(installs.jwt))
    expect(packagesIn("a client on Node")).toEqual([...installs.client.packages].toSorted())
    expect(packagesIn("a client in a browser")).toEqual([...installs.browser.packages].toSorted())
    expect(packagesIn("the `arcp` program")).toEqual([...installs.command.packages].toSorted())
  })

  it("has no relative link, and each into the package leads to a file", () => {
    const page = readFileSync("README.md", "utf8")
    // A run of `npm pack` that was interrupted leaves the published one in its place.
    expect(page).not.toContain("https://unpkg.com/")
    const links = Array.from(absolute(page, base).matchAll(/\]\(([^)\s]+)\)/g), ([, link = ""]) => link)
    const inside = links.filter((link) => link.startsWith(base)).map((link) => link.slice(base.length).split("#")[0]!)
    expect(inside.length).toBeGreaterThan(40)
    expect(links.filter((link) => !/^(https:\/\/|#)/.test(link))).toEqual([])
    expect(inside.filter((file) => !existsSync(file))).toEqual([])
  })

  it("keeps its code, its anchors and what is absolute", () => {
    const fence = "```"
    const page = `[a](docs/a.md#b) ![i](i.svg) [c](#d) [e](https://x/y) [m](mailto:a@b.c)\n${fence}ts\nf[0](x)\n${fence}\n`
    expect(absolute(page, base)).toBe(
      `[a](${base}docs/a.md#b) ![i](${base}i.svg) [c](#d) [e](https://x/y) [m](mailto:a@b.c)\n${fence}ts\nf[0](x)\n${fence}\n`
    )
    expect(base).toBe("https://unpkg.com/p@1.2.3/")
  })
})
