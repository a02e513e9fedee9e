/**
 * The process's stdout, kept for frames.
 *
 * Anything in a process can print: `console.log` of an agent's dependency, a logger, a warning. On a stdout that carries the
 * protocol each such line breaks a frame. So frames get a stream of their own, and what else writes to `process.stdout` writes to
 * stderr: by the property, by a reference taken earlier, and by the global console, which keeps such a reference.
 *
 * Not reached: file descriptor 1 itself, that is `fs.writeSync(1, …)` and a child process that inherits it.
 */
import { Writable } from "node:stream"

let taken: Writable | undefined

/** The stream for frames; the first call takes stdout away from everything else, for the rest of the process. */
export const take = (): Writable => (taken ??= divert())

const divert = (): Writable => {
  const stdout = process.stdout
  const stderr = process.stderr
  const write = stdout.write.bind(stdout) as (
    chunk: string | Uint8Array,
    encoding: BufferEncoding | undefined,
    done: (error?: Error | null) => void
  ) => boolean
  const end = stdout.end.bind(stdout) as (done: () => void) => unknown
  // A stream of its own: what is done to it (cork, end, destroy) is not done to stderr. Some loggers write to its descriptor.
  const others = Object.assign(
    new Writable({
      decodeStrings: false,
      write: (chunk: string | Uint8Array, encoding, done) => {
        if (typeof chunk === "string") stderr.write(chunk, encoding)
        else stderr.write(chunk)
        done()
      }
    }),
    { fd: stderr.fd }
  )
  others.on("error", ignore)
  stdout.write = others.write.bind(others) as typeof stdout.write
  Object.defineProperty(process, "stdout", { configurable: true, enumerable: true, get: () => others })
  const frames = new Writable({
    decodeStrings: false,
    write: (chunk: string | Uint8Array, encoding, done) => {
      let waits = true
      const once = (error?: Error | null): void => {
        if (!waits) return
        waits = false
        done(error)
      }
      write(chunk, typeof chunk === "string" ? encoding : undefined, once)
      // A pipe takes it at once: later frames then need not wait here, where a process that is ended would lose them.
      if (stdout.writableLength === 0 && !stdout.destroyed) once()
    },
    final: (done) => {
      end(() => done())
    }
  })
  // A broken pipe fails the write above, and is reported on the stream itself as well.
  stdout.on("error", (error) => frames.destroy(error))
  return frames
}

const ignore = (): void => {}
