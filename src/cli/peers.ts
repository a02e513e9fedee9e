/**
 * What to install where a peer of this package is missing.
 *
 * Imports nothing: the executable loads it when the rest of the program could not be loaded.
 */

/** The packages that the program loads, with the ranges of `package.json`, or of the peer that asks for them; a test compares them. */
export const peers = {
  effect: "^3.22.2",
  "@effect/platform": "^0.97.2",
  "@effect/platform-node": "^0.108.2",
  "@effect/cli": "^0.77.2",
  "@effect/printer": "^0.51.0",
  "@effect/printer-ansi": "^0.51.0",
  ws: "^8.18.0",
  "@effect/sql-sqlite-node": "^0.53.0",
  "@effect/sql": "^0.52.1",
  "@effect/experimental": "^0.61.1",
  jose: "^6.0.0"
} as const satisfies Readonly<Record<string, string>>

export type PeerName = keyof typeof peers

/** What every command needs. */
export const needed: ReadonlyArray<PeerName> = [
  "effect",
  "@effect/platform",
  "@effect/platform-node",
  "@effect/cli",
  "@effect/printer",
  "@effect/printer-ansi"
]

const isPeer = (name: string): name is PeerName => Object.hasOwn(peers, name)

/** The package that Node did not find; undefined for any other failure. */
const notFound = (cause: unknown): string | undefined =>
  cause instanceof Error && "code" in cause && cause.code === "ERR_MODULE_NOT_FOUND"
    ? /^Cannot find package '((?:@[^/']+\/)?[^/']+)/.exec(cause.message)?.[1]
    : undefined

const isMissing = (name: PeerName): boolean => {
  try {
    import.meta.resolve(name)
    return false
  } catch (cause) {
    return notFound(cause) === name
  }
}

/**
 * Which peers are not installed, and the command that installs them, where that is why a module was not loaded; undefined where it
 * failed for another reason. `names`: what the module needs, so that one command installs all of it.
 */
export const missing = (cause: unknown, names: ReadonlyArray<PeerName>): string | undefined => {
  const first = notFound(cause)
  if (first === undefined || !isPeer(first)) return undefined
  const absent = [first, ...names.filter((name) => name !== first && isMissing(name))]
  const list =
    absent.length === 1 ? `${first} is` : `${absent.slice(0, -1).join(", ")} and ${absent[absent.length - 1]} are`
  return `${list} not installed: npm install ${absent.map((name) => `${name}@${peers[name]}`).join(" ")}`
}
