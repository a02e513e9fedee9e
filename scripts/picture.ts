/**
 * Draws the quickstart's terminal for the README, out of a real run: `npm run picture` writes `docs/quickstart.svg`.
 *
 * Only what differs from run to run without meaning is replaced: the folder of the repository, and the port.
 */
import { writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { run } from "./examples/programs.js"

const root = fileURLToPath(new URL("..", import.meta.url)).replace(/[/\\]$/, "")
const command = "npm ci && npm run quickstart"
const [fontSize, lineHeight, charWidth, padding, top] = [13, 19, 7.83, 16, 44] as const

const { code, output } = await run(root, "examples/quickstart.ts")
if (code !== 0) throw new Error(`the quickstart failed:\n${output}`)
const printed = output
  .trimEnd()
  .replaceAll(root, "~/effect-arcp")
  .replace(/127\.0\.0\.1:\d+/g, "127.0.0.1:7777")
// eslint-disable-next-line no-control-regex
if (/[\u0000-\u0009\u000b-\u001f]/.test(printed)) throw new Error("the quickstart printed control characters")

const escaped = (text: string): string => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;")
/** What matters is brighter: breaks in red, proofs in green. */
const colourOf = (line: string): string =>
  line.startsWith("***") ? "#ff9e8a" : /lost 0|✓/.test(line) ? "#8fd694" : line.startsWith("$") ? "#ffffff" : "#c8ccd4"

const lines = [`$ ${command}`, ...printed.split("\n")]
const width = Math.ceil(Math.max(...lines.map(({ length }) => length)) * charWidth + 2 * padding)
const height = top + lines.length * lineHeight + padding
const texts = lines
  .map((line, i) => [line, top + i * lineHeight + fontSize] as const)
  .filter(([line]) => line !== "")
  .map(
    ([line, y]) => `<text x="${padding}" y="${y}" fill="${colourOf(line)}" xml:space="preserve">${escaped(line)}</text>`
  )
const dots = ["#ff5f57", "#febc2e", "#28c840"].map(
  (colour, i) => `<circle cx="${padding + 6 + i * 20}" cy="20" r="6" fill="${colour}"/>`
)

writeFileSync(
  `${root}/docs/quickstart.svg`,
  `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" aria-label="The quickstart in a terminal" font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, monospace" font-size="${fontSize}">
<rect width="${width}" height="${height}" rx="8" fill="#1e2127"/>
${[...dots, ...texts].join("\n")}
</svg>
`
)
console.log(`docs/quickstart.svg: ${lines.length} lines`)
