/** What pages show is so: their code compiles, their programs run and print what they say, and their links lead somewhere. */
import { describe, expect, it } from "@effect/vitest"
import { readFileSync, writeFileSync } from "node:fs"
import { anchorsOf, type Block, blocksOf, brokenLinks, pages } from "./pages.js"
import { framesText, type Happened, problemsOf, run, shownBy, written } from "./shown.js"

const read = (path: string) => readFileSync(path, "utf8")
const write = process.env["ARCP_DOCS_WRITE"] === "1"

describe("pages", () => {
  it("show code that compiles; what does not is found, where it stands", { timeout: 120_000 }, async () => {
    const modules = pages.flatMap((path) => shownBy(path, read(path)))
    expect(modules.length).toBeGreaterThan(10)
    // In the same run, since a compiler takes its time to start.
    const found = await problemsOf([
      ...modules,
      { name: "good.md", text: 'import { Agent } from "effect-arcp/agent"\nconst a: unknown = Agent\n' },
      { name: "bad.md", text: "const a: number = 1\nconst b: string = a\n" },
      { name: "missing.md", text: 'import { NoSuch } from "effect-arcp/agent"\n' },
      { name: "files.md:1", text: "export const a = 1\n", file: "shown-files/a.ts" },
      { name: "files.md:2", text: 'import { a } from "./a.js"\nconst b: string = a\n', file: "shown-files/b.ts" }
    ])
    expect(found).toEqual([
      expect.stringMatching(/^bad\.md: Type 'number' .*\n {2}in: const b: string = a$/),
      expect.stringMatching(/^missing\.md: .*NoSuch/),
      expect.stringMatching(/^files\.md:2: Type 'number' .*\n {2}in: const b: string = a$/)
    ])
  })

  it("have links that lead to pages and headings that exist", () => {
    expect(pages.length).toBeGreaterThan(10)
    expect(pages.flatMap((path) => brokenLinks(path, read(path)))).toEqual([])
  })

  it("name the language of each block", () => {
    for (const path of pages) {
      for (const { language, text } of blocksOf(read(path)))
        expect([path, language, text]).not.toEqual([path, "", text])
    }
  })

  for (const path of pages) {
    const page = read(path)
    const programs = shownBy(path, page).filter(({ block }) => block !== undefined)
    if (programs.length === 0) continue
    it(`${path}: its programs run, and print and send what it says`, async () => {
      const happened = new Map<Block, Happened>()
      for (const shown of programs) happened.set(shown.block!, await run(shown))
      const real = written(page, happened).page
      if (write) writeFileSync(path, real)
      else expect(page).toBe(real)
    })
  }
})

describe("the reader of pages", () => {
  const fence = "```"

  it("takes a page's blocks together, and others alone", () => {
    const page = `<!-- ts\nhidden()\n-->\n${fence}ts\nconst a = 1\n${fence}\n${fence}sh\nls\n${fence}\n${fence}ts alone\nb()\n${fence}\n${fence}ts\na\n${fence}\n${fence}ts file c.ts\nc()\n${fence}\n`
    expect(shownBy("p.md", page)).toEqual([
      { name: "p.md", text: "hidden()\n\nconst a = 1\n\na\n" },
      { name: "p.md:3", text: "b()\n" },
      { name: "p.md:5", text: "c()\n", file: "shown-p-md/c.ts" }
    ])
    expect(() => shownBy("p.md", `${fence}ts ignore\n${fence}\n`)).toThrow("and not ignore")
  })

  it("compares what a program prints and sends with what really happens", async () => {
    const program = [
      'import { Agent } from "effect-arcp/agent"',
      'import { ArcpClient } from "effect-arcp/client"',
      'import { TestArcp } from "effect-arcp/testing"',
      'import { NodeRuntime } from "@effect/platform-node"',
      'import { Console, Effect } from "effect"',
      'const EchoLive = Agent.untyped("echo", (input) => Effect.succeed(input))',
      'const program = Effect.flatMap(ArcpClient, (client) => client.submit("echo", { n: 1 })).pipe(',
      "  Effect.flatMap((job) => job.result), Effect.flatMap(Console.log))",
      "NodeRuntime.runMain(program.pipe(Effect.provide(TestArcp.layer(EchoLive))))",
      ""
    ].join("\n")
    const page = `${fence}ts run\n${program}${fence}\n\n${fence}text printed\nwrong\n${fence}\n${fence}jsonc frames job.result\n${fence}\nend\n`
    const [shown] = shownBy("p.md", page)
    const first = await run(shown!)
    const second = await run({ ...shown!, name: "again.md" })
    expect(second).toEqual(first)
    const real = written(page, new Map([[shown!.block!, first]])).page
    expect(real).toContain('\n{"n":1}\n```')
    expect(real).toMatch(
      /jsonc frames job\.result\n\/\/ to the client\n\{\n {2}"arcp": "1\.1"[\s\S]*"result": \{"n": 1\}[\s\S]*```\nend\n$/
    )
    expect(framesText(first.frames, ["no.such"])).toBe("")
    expect(framesText(first.frames, ["job.event/log"])).toBe("")
    expect(framesText(first.frames, ["job.event/status"]).match(/"kind": "\w+"/g)).toEqual(['"kind": "status"'])
    expect(() => written(page.replace("job.result\n", "no.such\n"), new Map([[shown!.block!, first]]))).toThrow(
      "nothing is frames"
    )
  })

  it("finds links that lead nowhere", () => {
    const page = "# A title: of `x`\n\n[a](gone.md) [b](#a-title-of-x) [c](no.md) [d](#nowhere) [e](https://x.y/z)\n"
    expect(anchorsOf(page)).toEqual(new Set(["a-title-of-x"]))
    expect(brokenLinks("docs/x.md", page.replace("#a-title-of-x", "../README.md"))).toEqual([
      "docs/x.md: gone.md does not exist",
      "docs/x.md: no.md does not exist",
      expect.stringContaining("docs/x.md: #nowhere")
    ])
  })
})
