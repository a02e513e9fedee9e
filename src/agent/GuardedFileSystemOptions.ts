/** The options of a guarded file system, for both ways to reach the files. */

/**
 * How a guarded file system is set up.
 *
 * @since 0.1.0
 * @category options
 */
export interface GuardedFileSystemOptions {
  /** The absolute directory that relative paths are taken from. Default: the process's directory when the file system is made. */
  readonly cwd?: string | undefined
  /** Where temporary files go when no directory is named; the lease must cover it. Default: the system's. */
  readonly tempDirectory?: string | undefined
  /** Bytes that `readFile` and `readFileString` take at most; a larger file can be streamed. Default: 256 MiB. */
  readonly fileBytes?: number | undefined
}
