/** What `package.json` says about the package's entries. */

/** The parts that the tools read. */
export interface Manifest {
  readonly name: string
  readonly exports: Readonly<Record<string, unknown>>
  readonly bin?: Readonly<Record<string, string>>
  readonly dependencies?: Readonly<Record<string, string>>
  readonly peerDependencies?: Readonly<Record<string, string>>
  readonly peerDependenciesMeta?: Readonly<Record<string, { readonly optional?: boolean }>>
}

/** One condition (`types`, `default`) of an export. */
export const targetOf = (value: unknown, condition: string): string | undefined => {
  const target = typeof value === "object" && value !== null ? (value as Record<string, unknown>)[condition] : undefined
  return typeof target === "string" ? target : undefined
}

/** Entry name (`transport/node`) to source file (`src/transport/node.ts`), out of the exports map. */
export const entriesOf = (manifest: Manifest): ReadonlyMap<string, string> => {
  const entries = new Map<string, string>()
  for (const [key, value] of Object.entries(manifest.exports)) {
    const source = /^\.\/dist\/(.+)\.js$/.exec(targetOf(value, "default") ?? "")?.[1]
    if (source !== undefined) entries.set(key.replace(/^\.\//, ""), `src/${source}.ts`)
  }
  return entries
}
