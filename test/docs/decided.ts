/** Reads which sections the conformance page lists, and which file decides each by the table of the architecture page. */

/** A row of the table: the section as it is written (`§9.4`, `1.0 §9.4`), the rule, and the path of the file. */
export interface Decided {
  readonly section: string
  readonly rule: string
  readonly path: string
}

const heading = "## Where each rule is decided"

/** Chapters about what the specification leaves open, or what this library does not have: no file decides it. */
const left = ["## Deferred", "## Beyond the specification"]

const sectionsIn = (text: string): ReadonlyArray<string> =>
  Array.from(text.matchAll(/(?:1\.0 )?§\d+(?:\.\d+)*/g), ([section]) => section)

/** The sections of the conformance page: those of its headings, and of the rules of its tables. */
export const sectionsListed = (page: string): ReadonlyArray<string> => {
  const found = new Set<string>()
  for (const part of page.split(/^(?=## )/m)) {
    if (left.some((title) => part.startsWith(title))) continue
    for (const line of part.split("\n")) {
      const rule = line.startsWith("## ") ? line : (/^\| (.*?) \| .* \|$/.exec(line)?.[1] ?? "")
      for (const section of sectionsIn(rule)) found.add(section)
    }
  }
  return [...found]
}

/** The rows of the architecture page's table; throws on a line that is not a row. */
export const rowsOf = (page: string): ReadonlyArray<Decided> => {
  const part = page.split(/^(?=## )/m).find((text) => text.startsWith(heading)) ?? ""
  const lines = part.split("\n").filter((line) => line.startsWith("|"))
  return lines.slice(2).map((line) => {
    const cells = /^\| ((?:1\.0 )?§\d+(?:\.\d+)*) \| (.+) \| `(src\/[^`]+\.ts)` \|$/.exec(line)
    if (cells === null) throw new Error(`no row of section, rule and file: ${line}`)
    return { section: cells[1]!, rule: cells[2]!, path: cells[3]! }
  })
}

/** Whether a text names a section by exactly that number. A file names a chapter by any section of it. */
export const names = (text: string, section: string): boolean => {
  const number = section.replace("1.0 ", "")
  const isChapter = !number.includes(".")
  const escaped = number.replaceAll(".", "\\.")
  return new RegExp(`${escaped}${isChapter ? "(?!\\d)" : "(?!\\d|\\.\\d)"}`).test(text)
}

/** What is wrong with the table: sections without a row, files that are not there, files that do not name their section. */
export const problemsOf = (
  listed: ReadonlyArray<string>,
  rows: ReadonlyArray<Decided>,
  textOf: (path: string) => string | undefined
): ReadonlyArray<string> => {
  const found: Array<string> = []
  for (const section of listed) {
    if (!rows.some((row) => row.section === section)) found.push(`${section}: no row says which file decides it`)
  }
  for (const { path, section } of rows) {
    const text = textOf(path)
    if (text === undefined) found.push(`${section}: there is no ${path}`)
    else if (!names(text, section)) found.push(`${section}: ${path} does not name it`)
  }
  return found
}

/** A row of the table of errors. */
export interface Raised {
  readonly code: string
  readonly path: string
}

const errorsHeading = "## Where each error comes from"

/** The rows of the table of errors; throws on a line that is not a row. */
export const raisedOf = (page: string): ReadonlyArray<Raised> => {
  const part = page.split(/^(?=## )/m).find((text) => text.startsWith(errorsHeading)) ?? ""
  const lines = part.split("\n").filter((line) => line.startsWith("|"))
  return lines.slice(2).map((line) => {
    const cells = /^\| `([A-Z_]+)` \| .+ \| `(src\/[^`]+\.ts)` \|$/.exec(line)
    if (cells === null) throw new Error(`no row of code, occasion and file: ${line}`)
    return { code: cells[1]!, path: cells[2]! }
  })
}

/** The class of a code: `JOB_NOT_FOUND` is made by `new JobNotFound(`. */
const makes = (text: string, code: string): boolean => {
  const name = code.replace(/([A-Z])([A-Z]*)_?/g, (_, first: string, rest: string) => first + rest.toLowerCase())
  return new RegExp(`\\bnew ${name}\\(`).test(text)
}

/** Codes that so many files make that not each has a row. */
const common = ["INVALID_REQUEST", "INTERNAL_ERROR"]

/** What is wrong with the table of errors: codes without a row, rows whose file does not make the error, files without a row. */
export const unraised = (
  codes: ReadonlyArray<string>,
  rows: ReadonlyArray<Raised>,
  texts: ReadonlyMap<string, string>
): ReadonlyArray<string> => {
  const found: Array<string> = []
  for (const code of codes) {
    const paths = rows.filter((row) => row.code === code).map(({ path }) => path)
    if (paths.length === 0) found.push(`${code}: no row says where it comes from`)
    for (const path of paths) {
      if (!makes(texts.get(path) ?? "", code)) found.push(`${code}: ${path} does not make it`)
    }
    if (common.includes(code)) continue
    for (const [path, text] of texts) {
      if (makes(text, code) && !paths.includes(path)) found.push(`${code}: ${path} makes it, and no row says so`)
    }
  }
  for (const { code } of rows) if (!codes.includes(code)) found.push(`${code}: is no code of §12`)
  return found
}
