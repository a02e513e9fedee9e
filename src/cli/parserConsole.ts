/**
 * What the parser of the command line prints: help on stdout, errors on stderr.
 *
 * It colours always. Here the colours are taken out unless a terminal shows them and `NO_COLOR` is not set, and errors get the words
 * of the person's own input, in which control characters are spelled out.
 */
import type * as Console from "effect/Console"
import { visibleLines } from "./visible.js"

const colours = /\u001b\[[0-9;]*m/g

/** Whether text for this stream may have colours: https://no-color.org. */
export const coloured = (
  stream: { readonly isTTY?: boolean },
  env: Readonly<Record<string, string | undefined>>
): boolean =>
  stream.isTTY === true && (env["NO_COLOR"] === undefined || env["NO_COLOR"] === "") && env["TERM"] !== "dumb"

/** The parser says "unknown" of an option without its value, and of one that is given twice. */
const explained = (text: string, argv: ReadonlyArray<string>, options: ReadonlySet<string>): string => {
  const missing = text.split(/\n+/).map((line) => /^Expected to find option: '(--[a-z-]+)'$/.exec(line)?.[1])
  if (missing.every((name) => name !== undefined)) {
    return `${missing.join(" and ")} ${missing.length > 1 ? "are" : "is"} required: see --help`
  }
  const option = /^Received unknown argument: '(--[a-z-]+)'$/.exec(text)?.[1]
  if (option === undefined) return text
  if (!options.has(option)) return `there is no option ${option} here: see --help`
  const times = argv.filter((arg) => arg === option || arg.startsWith(`${option}=`)).length
  return times > 1 ? `${option} is given ${times} times: give it once` : `${option} needs a value`
}

/** The names of a command's options, which are keyed by their names in camel case. */
export const optionNames = (options: object): ReadonlySet<string> =>
  new Set(Object.keys(options).map((key) => `--${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`))

/** An option whose value is an empty text; the parser drops some of these silently. */
export const emptyOption = (argv: ReadonlyArray<string>, options: ReadonlySet<string>): string | undefined => {
  for (const [at, arg] of argv.entries()) {
    if (arg === "--") return undefined
    if (arg === "" && options.has(argv[at - 1] ?? "")) return argv[at - 1]
    if (arg.endsWith("=") && options.has(arg.slice(0, -1))) return arg.slice(0, -1)
  }
  return undefined
}

/** `console`, for the parser alone. */
export const parserConsole = (
  console: Console.Console,
  options: {
    readonly argv: ReadonlyArray<string>
    /** Every option of the command, with its hyphens. */
    readonly known: ReadonlySet<string>
    /** Whether its help may be coloured; errors are not. */
    readonly colours: boolean
  }
): Console.Console => ({
  ...console,
  log: (...args) =>
    console.log(...args.map((arg) => (typeof arg === "string" && !options.colours ? arg.replace(colours, "") : arg))),
  error: (...args) => {
    const text = args.join(" ").replace(colours, "").trim()
    return console.error(`arcp: ${visibleLines(explained(text, options.argv, options.known))}`)
  }
})
