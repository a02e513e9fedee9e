/**
 * The README of the published package has absolute links: a registry shows it without the pages beside it. `npm pack` and `npm publish`
 * run this before (`absolute`) and after (`restore`). The links lead into the package as it was published, which holds its pages.
 */
import { copyFileSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"

const root = new URL("../", import.meta.url)
const readme = new URL("README.md", root)
const kept = new URL("build/README.md", root)

/** A page whose relative links begin with `base`; its code is left as it is. */
export const absolute = (page: string, base: string): string =>
  page
    .split(/(^```[\s\S]*?^```$)/m)
    .map((part, i) =>
      i % 2 === 1
        ? part
        : part.replace(
            /(\]\()(?![a-z]+:|#)([^)\s]+\))/g,
            (_, before: string, link: string) => `${before}${base}${link}`
          )
    )
    .join("")

/** Where the files of a published version are. */
export const baseOf = ({ name, version }: { readonly name: string; readonly version: string }): string =>
  `https://unpkg.com/${name}@${version}/`

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [mode] = process.argv.slice(2)
  if (mode === "absolute") {
    mkdirSync(new URL("build/", root), { recursive: true })
    // one that an interrupted run has left is the true one
    if (existsSync(kept)) copyFileSync(kept, readme)
    else copyFileSync(readme, kept)
    const manifest = JSON.parse(readFileSync(new URL("package.json", root), "utf8")) as {
      name: string
      version: string
    }
    writeFileSync(readme, absolute(readFileSync(readme, "utf8"), baseOf(manifest)))
  } else if (mode === "restore") {
    if (existsSync(kept)) renameSync(kept, readme)
  } else {
    console.error("readme-links.ts absolute | restore")
    process.exitCode = 2
  }
}
