/**
 * The modes of a database's files (ARCP 1.0 §14): only their owner reads and writes them.
 *
 * Responsibility: a file that is made here has mode 0600 from the beginning, so that SQLite gives its log and its index the same. One that is
 * there with a looser mode, as a copy or a version before may have left it, is given that mode before anything is read from it; where that is not
 * possible, since it is another user's, it is rejected. So is what another user may have put there: a link, or what is no regular file.
 *
 * Races: a file that has to be changed is opened, looked at and changed by its descriptor, so that what is mended is what was looked at. SQLite opens it by its path
 * afterwards; {@link checkFile} says then whether that is still the same file. What others read before is theirs.
 */
import {
  accessSync,
  type BigIntStats,
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  lstatSync,
  openSync,
  realpathSync,
  type Stats,
  statSync
} from "node:fs"
import { dirname } from "node:path"

/** What SQLite keeps beside a database. */
const beside = ["-wal", "-shm", "-journal"]

const ownerOnly = 0o600
const others = 0o077

/** Windows has no such modes: there each file has what its folder grants. */
const hasModes = process.platform !== "win32"

/** Absent on Windows, as types do not say. */
const { O_NOFOLLOW = 0, O_NONBLOCK = 0 } = constants as Partial<typeof constants>

/** A file that may not be used as it is; the message says why, and what to do. */
export class UnsafeFile extends Error {}

const octal = (mode: number): string => (mode & 0o777).toString(8).padStart(4, "0")

/**
 * Refuses a file with several names (hard links). SQLite keeps the log beside the name that the file was opened by, so a start under another name,
 * after a crash, would lose what is in that log.
 */
const refuseNames = (links: number, path: string): void => {
  if (links > 1)
    // edge: caught where the database is opened
    throw new UnsafeFile(
      `${path} has ${links} names (hard links), and the log of a SQLite file belongs to one of them: copy it to a file of its own, or remove the other names`
    )
}

/** Mends an open file. Returns whether it had to. Throws {@link UnsafeFile}. */
const mend = (descriptor: number, path: string): boolean => {
  const found = fstatSync(descriptor)
  // edge: caught where the database is opened
  if (!found.isFile()) throw new UnsafeFile(`${path} is not a regular file: give the store a file of its own`)
  if (!hasModes || (found.mode & others) === 0) return false
  try {
    fchmodSync(descriptor, ownerOnly)
  } catch (cause) {
    // edge: caught where the database is opened
    throw new UnsafeFile(
      `${path} has mode ${octal(found.mode)}, so that other users reach it, and it cannot be mended: chmod 600 it, as its owner`,
      { cause }
    )
  }
  return true
}

const codeOf = (cause: unknown): unknown => (cause as { readonly code?: unknown }).code

/** What lies at a path, itself; undefined where there is nothing. */
const at = (path: string): Stats | undefined => lstatSync(path, { throwIfNoEntry: false })

/** Mends a file of SQLite's, where there is one. */
const mendBeside = (path: string): boolean => {
  let descriptor: number
  try {
    // To look at it, it need not be written. A pipe does not hold this up.
    descriptor = openSync(path, constants.O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
  } catch (cause) {
    const code = codeOf(cause)
    if (code === "ENOENT") return false
    // edge: caught where the database is opened
    throw code === "ELOOP" ? new UnsafeFile(`${path} is a link, and SQLite makes none: remove it`, { cause }) : cause
  }
  try {
    return mend(descriptor, path)
  } finally {
    closeSync(descriptor)
  }
}

/** Which file it is, whatever its name. */
const identity = ({ dev, ino }: BigIntStats): string => `${dev}:${ino}`

/** Which file a path leads to; undefined where there is none. */
export const identityOf = (path: string): string | undefined => {
  const found = statSync(path, { bigint: true, throwIfNoEntry: false })
  return found === undefined ? undefined : identity(found)
}

/** A link at the path is followed if this user or the superuser made it: another user could have it lead to any file of this one's. */
const refuseLink = (path: string): void => {
  const found = at(path)
  if (found?.isSymbolicLink() !== true || process.geteuid === undefined) return
  if (found.uid === 0 || found.uid === process.geteuid()) return
  // edge: caught where the database is opened
  throw new UnsafeFile(`${path} is a link that another user has made: give the path of the file itself`)
}

/** Whether every user of the machine can put another file in the place of one in the folder. */
const isOpenToAll = (folder: string): boolean => {
  const { mode } = statSync(folder)
  return hasModes && (mode & 0o002) !== 0 && (mode & 0o1000) === 0
}

/** A database's file that was prepared. */
export interface Prepared {
  readonly path: string
  /** Where it lies, whatever links lead to it. */
  readonly real: string
  readonly identity: string
  /** The paths whose modes were changed. */
  readonly mended: ReadonlyArray<string>
  /** The folder, where every user of the machine can replace what is in it. */
  readonly openFolder: string | undefined
}

/**
 * Which file it is, where nothing about it has to be changed. To look at it, it is not opened: this process would give up the locks that it has on it,
 * when it closes the descriptor. A worker thread, or another copy of this package, may have it open.
 */
const asItShouldBe = (path: string): string | undefined => {
  const found = statSync(path, { bigint: true, throwIfNoEntry: false })
  if (found?.isFile() !== true || (hasModes && (Number(found.mode) & others) !== 0)) return undefined
  accessSync(path, constants.R_OK | constants.W_OK)
  refuseNames(Number(found.nlink), path)
  return identity(found)
}

/** Makes a file, or mends it; `mended` is told where it had to. */
const makeOrMend = (path: string, make: boolean, mended: Array<string>): string => {
  const descriptor = openSync(path, constants.O_RDWR | O_NONBLOCK | (make ? constants.O_CREAT : 0), ownerOnly)
  try {
    const found = fstatSync(descriptor, { bigint: true })
    if (found.isFile()) refuseNames(Number(found.nlink), path)
    if (mend(descriptor, path)) mended.push(path)
    return identity(found)
  } finally {
    closeSync(descriptor)
  }
}

/**
 * Prepares a database's file, which is made where it is absent and `make` says so. Throws what the system throws, and {@link UnsafeFile}. This
 * process must not have the file open where its mode has to be changed: to close a descriptor of it gives up the locks that it has.
 */
export const prepareFile = (path: string, make: boolean): Prepared => {
  refuseLink(path)
  const mended: Array<string> = []
  const found = asItShouldBe(path) ?? makeOrMend(path, make, mended)
  const real = realpathSync(path)
  // They lie where the file itself does.
  for (const suffix of beside) if (mendBeside(`${real}${suffix}`)) mended.push(`${real}${suffix}`)
  const folder = dirname(real)
  return { path, real, identity: found, mended, openFolder: isOpenToAll(folder) ? folder : undefined }
}

/** Fails where what SQLite has opened by its path is not what was prepared. Throws {@link UnsafeFile}. */
export const checkFile = ({ identity: prepared, path, real }: Prepared): void => {
  const loose = beside.find((suffix) => {
    const found = at(`${real}${suffix}`)
    return found !== undefined && (!found.isFile() || (hasModes && (found.mode & others) !== 0))
  })
  if (identityOf(path) === prepared && loose === undefined) return
  // edge: caught where the database is opened
  throw new UnsafeFile(
    `${loose === undefined ? path : `${real}${loose}`} was replaced while it was opened: no other user and no other program may write to its folder`
  )
}
