/**
 * The list of what is known and still stands (`shape.json`): the house is mended step by step, and the list can only shrink. When
 * it is empty, it is deleted together with this file.
 */
import type { Finding, Rule } from "./shape.js"

/** For each rule, the figure of each key. */
export type Standing = Partial<Record<Rule, Readonly<Record<string, number>>>>

const rules: ReadonlyArray<Rule> = ["foreign-write", "function-size", "file-size", "import-circle"]

/** What a list has to say about the findings: those that are new or have grown, and entries that no longer stand. */
export const complaints = (findings: ReadonlyArray<Finding>, known: Standing): ReadonlyArray<string> => {
  const said: Array<string> = []
  for (const { figure, key, lines, rule } of findings) {
    const before = known[rule]?.[key]
    if (before !== undefined && figure <= before) continue
    said.push(...lines)
    if (before !== undefined) said.push(`  it has grown: ${key} is recorded with ${before}, and is ${figure} now.`)
  }
  const standing = new Set(findings.map(({ key, rule }) => `${rule} ${key}`))
  for (const rule of rules) {
    for (const key of Object.keys(known[rule] ?? {})) {
      if (standing.has(`${rule} ${key}`)) continue
      said.push(
        `scripts/shape.json ${rule}: "${key}" no longer stands. Remove it from the list: npm run lint:shape -- --record`
      )
    }
  }
  return said
}

/** The list of what stands now. */
export const listOf = (findings: ReadonlyArray<Finding>): Standing => {
  const list: Standing = {}
  for (const rule of rules) {
    const ours = findings.filter((finding) => finding.rule === rule)
    if (ours.length > 0) list[rule] = Object.fromEntries(ours.map(({ figure, key }) => [key, figure]))
  }
  return list
}

/**
 * Why a list must not take the place of another: it is longer, a figure has grown, or what a rule counts has grown in all. A file that
 * was moved or a function that was renamed changes keys and none of these.
 */
export const growth = (next: Standing, before: Standing): ReadonlyArray<string> => {
  const said: Array<string> = []
  for (const rule of rules) {
    const [now, was] = [next[rule] ?? {}, before[rule] ?? {}]
    const [entries, entriesBefore] = [Object.keys(now).length, Object.keys(was).length]
    if (entries > entriesBefore) said.push(`${rule}: ${entries} entries, ${entriesBefore} before`)
    const sum = (list: Readonly<Record<string, number>>) => Object.values(list).reduce((all, figure) => all + figure, 0)
    if (sum(now) > sum(was)) said.push(`${rule}: ${sum(now)} in all, ${sum(was)} before`)
    for (const [key, figure] of Object.entries(now)) {
      const figureBefore = was[key]
      if (figureBefore !== undefined && figure > figureBefore) {
        said.push(`${rule}: "${key}" is ${figure}, ${figureBefore} before`)
      }
    }
  }
  return said
}

export const isEmpty = (list: Standing): boolean => rules.every((rule) => Object.keys(list[rule] ?? {}).length === 0)
