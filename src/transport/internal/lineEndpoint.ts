/**
 * An {@link Endpoint} over a pair of Node byte streams, one JSON text per line.
 *
 * What is common to both ends of a stdio connection; who owns the streams decides by {@link Hooks} what their end means.
 * Whatever happens to a stream is caught here: a broken pipe ends the connection, never the process.
 */
import type { Readable, Writable } from "node:stream"
import type { LineOptions } from "../LineOptions.js"
import { BadFrame, closeCodes } from "../Connection.js"
import type { Sendable } from "../FrameParts.js"
import { Alarm } from "./Alarm.js"
import { bytes } from "./bounds.js"
import { Endpoint, frameText } from "./Endpoint.js"
import { invalid, joinLines, type Line, LineSplitter, tooLong } from "./LineSplitter.js"
import { peekBytes, type Prelude } from "./Prelude.js"

export interface Hooks {
  /** The input has ended; its last line has been pushed. */
  readonly inputEnded: () => void
  /** The input failed, or was closed before its end. */
  readonly inputFailed: (reason: string) => void
  /** Nothing can be written any more. */
  readonly outputFailed: (reason: string) => void
  /** Flush, close, and end the endpoint in bounded time. */
  readonly shut: () => void
  /** Looks at what comes before the first frame. */
  readonly prelude?: Prelude | undefined
  /** The reason of our own close, as it is reported. */
  readonly explain?: ((reason: string) => string) | undefined
}

export interface LineEndpoint {
  readonly endpoint: Endpoint
  /** Reads what is left without holding the peer back: for when it is bounded by the peer's end. */
  readonly readOut: () => void
  /** Whether no frame has come yet; false where nothing looks for that. */
  readonly waitsForFirst: boolean
  /** The beginning of the line that has not ended yet. */
  readonly unfinished: () => string
}

/** How long the first line may stay without its end. */
const firstLineMillis = 3000

/** Stream errors after the connection's end have no other listener. Streams such as stdout outlive many connections. */
const muted = new WeakSet<Readable | Writable>()

const mute = (stream: Readable | Writable): void => {
  if (muted.has(stream)) return
  muted.add(stream)
  stream.on("error", ignore)
}

const ignore = (): void => {}

/** Reads and writes lines until the endpoint has ended, then lets go of both streams. */
export const make = (input: Readable, output: Writable, options: LineOptions, hooks: Hooks): LineEndpoint => {
  const maxFrameBytes = bytes(options.maxFrameBytes ?? 4 * 1024 * 1024)
  const splitter = new LineSplitter(maxFrameBytes)
  let inputDone = false
  let outputBroken = false
  let unheld = false
  const flushed = (): void => endpoint.flushed()

  const endpoint: Endpoint = new Endpoint(
    {
      write: (frames: ReadonlyArray<Sendable>) => {
        if (outputBroken || !output.writable) return false
        output.write(joinLines(frames.map(frameText)), "utf8", flushed)
        return true
      },
      waiting: () => output.writableLength,
      hold: () => {
        if (!unheld && !inputDone) input.pause()
      },
      release: () => {
        if (!inputDone) input.resume()
      },
      shut: hooks.shut,
      limitFrames: (limit) => {
        splitter.maxBytes = Math.min(maxFrameBytes, limit ?? maxFrameBytes)
      }
    },
    {
      transport: "stdio",
      secure: true,
      highWater: options.highWaterBytes ?? 256 * 1024,
      inboundBound: options.inboundBytes ?? 1024 * 1024,
      explain: hooks.explain
    }
  )

  const take = (lines: ReadonlyArray<Line>): void => {
    for (const line of lines) {
      if (line === tooLong) {
        // told first, so that the reader can still answer; the connection ends when the reader has seen the end
        endpoint.push(new BadFrame(`the line is longer than ${splitter.maxBytes} bytes`), 64)
        stopInput()
        input.destroy()
        endpoint.endInbound(() =>
          endpoint.startClose(closeCodes.tooBig, `a line is longer than ${splitter.maxBytes} bytes`)
        )
      } else if (line === invalid) endpoint.push(new BadFrame("the line is not valid UTF-8"), 64)
      else endpoint.push(line, line.length + 64)
    }
  }

  /** Until the first frame has come. */
  let prelude = hooks.prelude
  const firstLine = new Alarm()
  const unfinished = (): string => splitter.peek(peekBytes)
  /** The output of the peer is not the protocol: the reader is told, and the connection ends. */
  const giveUp = (why: string): void => {
    if (inputDone) return
    prelude = undefined
    endpoint.push(new BadFrame(why), 64)
    stopInput()
    input.resume()
    endpoint.endInbound(() => endpoint.startClose(closeCodes.protocolError, why))
  }
  const look = (prelude: Prelude, data: Uint8Array, lines: ReadonlyArray<Line>): void => {
    firstLine.clear()
    const mark = prelude.bytes(data)
    if (mark !== undefined) return giveUp(mark)
    for (const line of lines) {
      const found = prelude.line(line)
      if (found === "frame") return came()
      if (found !== undefined) return giveUp(found.wrong)
    }
    if (splitter.unfinished > 0) firstLine.set(firstLineMillis, () => giveUp(prelude.unfinished(unfinished())))
  }
  const came = (): void => {
    prelude = undefined
  }
  const onData = (data: Uint8Array): void => {
    const lines = splitter.push(data)
    if (prelude !== undefined) look(prelude, data, lines)
    if (!inputDone) take(lines)
  }
  const onInputEnd = (): void => {
    if (inputDone) return
    stopInput()
    const lines = splitter.end()
    if (prelude !== undefined && lines.some((line) => prelude?.line(line) === "frame")) came()
    take(lines)
    hooks.inputEnded()
  }
  const onInputFailure = (error?: Error): void => {
    if (inputDone) return
    stopInput()
    hooks.inputFailed(error?.message ?? "the input was closed")
  }
  const onOutputFailure = (error?: Error): void => {
    if (outputBroken || output.writableFinished) return
    outputBroken = true
    hooks.outputFailed(error?.message ?? "the output was closed")
  }
  const stopInput = (): void => {
    inputDone = true
    firstLine.clear()
    input.off("data", onData)
    input.off("end", onInputEnd)
    input.off("error", onInputFailure)
    input.off("close", onInputFailure)
  }

  mute(input)
  mute(output)
  output.on("error", onOutputFailure)
  output.on("close", onOutputFailure)
  input.on("end", onInputEnd)
  input.on("error", onInputFailure)
  input.on("close", onInputFailure)
  input.on("data", onData)
  endpoint.onEnd(() => {
    stopInput()
    output.off("error", onOutputFailure)
    output.off("close", onOutputFailure)
    input.destroy()
    output.destroy()
  })

  return {
    endpoint,
    get waitsForFirst() {
      return prelude !== undefined
    },
    unfinished,
    readOut: () => {
      unheld = true
      if (!inputDone) input.resume()
    }
  }
}
