/** The page on troubleshooting quotes this package's messages: each is in the sources, word by word. */
import { describe, expect, it } from "@effect/vitest"
import { readdirSync, readFileSync } from "node:fs"
import { blocksOf } from "./pages.js"

const page = readFileSync("docs/troubleshooting.md", "utf8")

const sources = readdirSync("src", { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".ts"))
  .map((name) => readFileSync(`src/${name}`, "utf8"))
  .join("\n")

const said = (page: string): ReadonlyArray<string> =>
  blocksOf(page)
    .filter(({ language, words }) => language === "text" && words[0] === "says")
    .flatMap(({ text }) => text.trimEnd().split("\n"))

/** The parts of a message between what differs that no source has; also a message that has no part of words. */
const unknown = (messages: ReadonlyArray<string>): ReadonlyArray<string> =>
  messages.flatMap((message) => {
    const parts = message.split("…").map((part) => part.replace(/^[\s:,;.()]+|[\s:,;.()]+$/g, ""))
    const words = parts.filter((part) => part.length > 3)
    return words.length === 0 ? [message] : words.filter((part) => !sources.includes(part))
  })

describe("docs/troubleshooting.md", () => {
  it("quotes messages as the sources have them", () => {
    expect(said(page).length).toBeGreaterThan(30)
    expect(unknown(said(page))).toEqual([])
  })

  it("a message that is nowhere in the sources is found", () => {
    expect(unknown(["could not connect to …: the moon is full", "…"])).toEqual(["the moon is full", "…"])
  })
})
