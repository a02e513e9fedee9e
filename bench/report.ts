/** The figures as text. */
import { arch, availableParallelism, cpus, loadavg, platform, release, totalmem } from "node:os"
import type { Figure } from "./measure.js"
import type { Sample } from "./stats.js"
import type { Verdict } from "./targets.js"

/** Where it ran. */
export const machine = () => ({
  cpu: cpus()[0]?.model.trim() ?? "unknown",
  cores: availableParallelism(),
  memoryGb: Math.round(totalmem() / 2 ** 30),
  system: `${platform()} ${release()} ${arch()}`,
  node: process.version,
  /** Of the last minute, when it was asked: what else the machine was doing. */
  load: loadavg()[0]!
})

const number = (n: number): string => {
  const size = Math.abs(n)
  return size >= 1000 ? Math.round(n).toLocaleString("en") : size >= 100 ? n.toFixed(0) : n.toFixed(size >= 10 ? 1 : 2)
}

/** The median, and how far the runs lie apart in parts of it. */
const cell = (sample: Sample | undefined): string => {
  if (sample === undefined) return "-"
  const spread = sample.median === 0 ? 0 : ((sample.max - sample.min) / Math.abs(sample.median)) * 100
  return sample.runs.length < 2 ? number(sample.median) : `${number(sample.median)} ±${(spread / 2).toFixed(0)}%`
}

/** Every backend has a column, a peer under its own name. */
export const table = (figures: ReadonlyArray<Figure>, peers: ReadonlyArray<string> = []): string => {
  const rows = [
    ["", "", "raw ws + JSON", "memory store", "SQLite", ...peers],
    ...figures.map((figure) => [
      `${figure.column}: ${figure.name}`,
      figure.unit,
      ...["floor", "memory", "sqlite", ...peers].map((backend) => cell(figure.samples[backend]))
    ])
  ]
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)))
  return rows
    .map((row) => row.map((text, i) => (i < 2 ? text.padEnd(widths[i]!) : text.padStart(widths[i]!))).join("  "))
    .join("\n")
}

/** Why figures are missing: a line for each reason of each backend. */
export const reasons = (figures: ReadonlyArray<Figure>): string => {
  const found = new Map<string, Array<string>>()
  for (const { column, missing, name } of figures) {
    for (const [backend, reason] of Object.entries(missing ?? {})) {
      const line = `${backend}: ${reason}`
      found.set(line, [...(found.get(line) ?? []), `${column}: ${name}`])
    }
  }
  return [...found].map(([line, names]) => `- ${line} (${names.join("; ")})`).join("\n")
}

/** What was measured of the targets, and how many were not. */
export const judged = (verdicts: ReadonlyArray<Verdict>): string => {
  const measured = verdicts.filter(({ value }) => value !== undefined)
  const width = Math.max(0, ...measured.map(({ name }) => name.length))
  const lines = measured.map(({ bound, met, name, value }) =>
    [
      name.padEnd(width),
      number(value!).padStart(8),
      (bound ?? "").padEnd(10),
      met === undefined ? "for comparison" : met ? "met" : "MISSED"
    ].join("  ")
  )
  const left = verdicts.length - measured.length
  return [...lines, ...(left === 0 ? [] : [`${left} more need columns that were not measured`])].join("\n")
}
