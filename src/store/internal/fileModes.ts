/**
 * The modes of a database's files (ARCP 1.0 §14): only their owner reads and writes them.
 *
 * Responsibility: a file that is made here has mode 0600 from the beginning, so that SQLite gives its log and its index the same. One that is
 * there with a looser mode, as a copy or a version before may have left it, is mended before anything is read from it; where that is not
 * possible, since it is another user's, it is rejected.
 *
 * Race: a file is opened, looked at and changed by its descriptor, so that what is mended is what was looked at. What others read before is theirs.
 */
import { closeSync, constants, fchmodSync, fstatSync, openSync, realpathSync } from "node:fs"

/** What SQLite keeps beside a database. */
const beside = ["-wal", "-shm", "-journal"]

const others = 0o077

/** Windows has no such modes: there each file has what its folder grants. */
const hasModes = process.platform !== "win32"

/** A file whose mode is loose and cannot be mended. */
export class LooseMode extends Error {
  constructor(path: string, mode: number, cause: unknown) {
    const shown = (mode & 0o777).toString(8).padStart(4, "0")
    super(`${path} has mode ${shown}, so that other users reach it, and it cannot be mended: chmod 600 it, as its owner`, {
      cause
    })
  }
}

/** Mends an open file. Returns whether it had to. Throws {@link LooseMode}. */
const mend = (descriptor: number, path: string): boolean => {
  const { mode } = fstatSync(descriptor)
  if (!hasModes || (mode & others) === 0) return false
  try {
    fchmodSync(descriptor, mode & 0o700)
  } catch (cause) {
    // edge: caught where the database is opened
    throw new LooseMode(path, mode, cause)
  }
  return true
}

const isAbsent = (cause: unknown): boolean => (cause as { readonly code?: unknown }).code === "ENOENT"

/** Mends a file of SQLite's, where there is one. */
const mendBeside = (path: string): boolean => {
  let descriptor: number
  try {
    // To look at it, it need not be written; a link would not be SQLite's.
    descriptor = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW)
  } catch (cause) {
    if (isAbsent(cause)) return false
    // edge: caught where the database is opened
    throw cause
  }
  try {
    return mend(descriptor, path)
  } finally {
    closeSync(descriptor)
  }
}

/**
 * Prepares a database's file, which is made where it is absent and `make` says so. Returns the paths that were mended. Throws what the system
 * throws, and {@link LooseMode}.
 */
export const prepareFile = (path: string, make: boolean): ReadonlyArray<string> => {
  const mended: Array<string> = []
  const descriptor = openSync(path, constants.O_RDWR | (make ? constants.O_CREAT : 0), 0o600)
  try {
    if (mend(descriptor, path)) mended.push(path)
  } finally {
    closeSync(descriptor)
  }
  // They lie where the file itself does, whatever links lead to it.
  const real = realpathSync(path)
  for (const suffix of beside) if (mendBeside(`${real}${suffix}`)) mended.push(`${real}${suffix}`)
  return mended
}
