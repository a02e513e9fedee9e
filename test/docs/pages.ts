/** The pages of the repository, the blocks of code that they show, and their links. */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs"
import { dirname, join, normalize } from "node:path"

/** A fenced block: its language, the words that follow it, and its text. */
export interface Block {
  readonly language: string
  readonly words: ReadonlyArray<string>
  readonly text: string
  /** Where its text begins and ends in the page. */
  readonly from: number
  readonly to: number
}

/** Every page that a person reads, from the root of the repository; the reports of `docs/api` are made by a tool. */
export const pages: ReadonlyArray<string> = [
  ...readdirSync(".").filter((name) => name.endsWith(".md")),
  ...readdirSync("docs", { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".md") && !name.startsWith("api/"))
    .map((name) => `docs/${name}`),
  "bench/README.md"
].toSorted()

/** The fenced blocks of a page. */
export const blocksOf = (page: string): ReadonlyArray<Block> =>
  Array.from(page.matchAll(/^```([^\n]*)\n([\s\S]*?)^```$/gm), (match) => {
    const [language = "", ...words] = match[1]!.trim().split(/\s+/)
    const from = match.index + match[0].indexOf("\n") + 1
    return { language, words, text: match[2]!, from, to: from + match[2]!.length }
  })

/** Code of a page's program that the page does not show: comments that begin with `ts`. */
export const hiddenIn = (page: string): ReadonlyArray<string> =>
  Array.from(page.matchAll(/^<!-- ts\n([\s\S]*?)^-->$/gm), ([, text = ""]) => text)

/** A page without its fenced blocks and comments. */
const prose = (page: string): string => page.replace(/^```[\s\S]*?^```$/gm, "").replace(/^<!--[\s\S]*?-->$/gm, "")

/** The anchors of a page, as they are made of its headings. */
export const anchorsOf = (page: string): ReadonlySet<string> => {
  const seen = new Map<string, number>()
  const anchors = new Set<string>()
  for (const [, heading = ""] of prose(page).matchAll(/^#{1,6} (.+)$/gm)) {
    const slug = heading
      .replace(/\[([^\]]*)\]\([^)]*\)/g, "$1")
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, "")
      .replace(/\s/g, "-")
    const before = seen.get(slug)
    seen.set(slug, (before ?? 0) + 1)
    anchors.add(before === undefined ? slug : `${slug}-${before}`)
  }
  return anchors
}

/** What is wrong with the relative links of a page. */
export const brokenLinks = (path: string, page: string): ReadonlyArray<string> => {
  const problems: Array<string> = []
  for (const [, link, image] of prose(page).matchAll(/\]\(([^)\s]+)\)|<img[^>]+src="([^"]+)"/g)) {
    const target = link ?? image ?? ""
    if (/^[a-z]+:/.test(target)) continue
    const [file = "", anchor] = target.split("#")
    const to = file === "" ? path : normalize(join(dirname(path), decodeURI(file)))
    if (!existsSync(to)) problems.push(`${path}: ${target} does not exist`)
    else if (anchor !== undefined && statSync(to).isFile() && to.endsWith(".md")) {
      if (!anchorsOf(readFileSync(to, "utf8")).has(anchor)) problems.push(`${path}: ${target} has no such heading`)
    }
  }
  return problems
}
