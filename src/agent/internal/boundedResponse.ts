/**
 * A response whose body is read up to a limit, and within the room that there is for all of them, whatever way it is read: every accessor
 * goes through a bounded stream.
 */
import * as HttpClientError from "@effect/platform/HttpClientError"
import * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as HttpIncomingMessage from "@effect/platform/HttpIncomingMessage"
import * as UrlParams from "@effect/platform/UrlParams"
import * as Chunk from "effect/Chunk"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Inspectable from "effect/Inspectable"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { ResponseRoom } from "../ResponseRoom.js"
import { Hold } from "../ResponseRooms.js"

type Response = HttpClientResponse.HttpClientResponse
type ResponseError = HttpClientError.ResponseError
type Body = Stream.Stream<Uint8Array, ResponseError>

/**
 * Gives up a response that nobody is going to read, so that its connection is free. Its stream is begun and interrupted, which is
 * what makes the client abort.
 */
export const discard = (response: Response): Effect.Effect<void> =>
  Effect.gen(function* () {
    const begun = yield* Deferred.make<void>()
    const fiber = yield* response.stream.pipe(
      Stream.onStart(Deferred.succeed(begun, undefined)),
      Stream.runDrain,
      // Or it would inherit that it must not be interrupted, and read to the end.
      Effect.interruptible,
      Effect.forkDaemon
    )
    yield* Deferred.await(begun)
    yield* Fiber.interrupt(fiber)
  }).pipe(Effect.uninterruptible)

/** The stream, which fails unless it is exactly so many bytes long: it must not run over into what would be a second request. */
export const exactly = (
  stream: Stream.Stream<Uint8Array, unknown>,
  length: number
): Stream.Stream<Uint8Array, unknown> =>
  Stream.suspend(() => {
    let sent = 0
    const wrong = () => new RangeError(`the body is not ${length} bytes long, as it was said to be`)
    return stream.pipe(
      Stream.mapEffect((bytes) => {
        sent += bytes.length
        return sent > length ? Effect.fail(wrong()) : Effect.succeed(bytes)
      }),
      Stream.concat(Stream.suspend(() => (sent === length ? Stream.empty : Stream.fail(wrong()))))
    )
  })

class Bounded extends Inspectable.Class implements Response {
  readonly [HttpIncomingMessage.TypeId]: HttpIncomingMessage.TypeId = HttpIncomingMessage.TypeId
  readonly [HttpClientResponse.TypeId]: HttpClientResponse.TypeId = HttpClientResponse.TypeId
  readonly original: Response
  readonly stream: Stream.Stream<Uint8Array, HttpClientError.ResponseError>
  readonly bytes: Effect.Effect<Uint8Array<ArrayBuffer>, HttpClientError.ResponseError>

  constructor(
    original: Response,
    stream: Stream.Stream<Uint8Array, HttpClientError.ResponseError>,
    bytes: Effect.Effect<Uint8Array<ArrayBuffer>, HttpClientError.ResponseError>
  ) {
    super()
    this.original = original
    this.stream = stream
    this.bytes = bytes
  }

  get request() {
    return this.original.request
  }

  get status() {
    return this.original.status
  }

  get headers() {
    return this.original.headers
  }

  get cookies() {
    return this.original.cookies
  }

  get remoteAddress() {
    return this.original.remoteAddress
  }

  get arrayBuffer(): Effect.Effect<ArrayBuffer, HttpClientError.ResponseError> {
    // A copy: what one reader does to its buffer, the next one does not see.
    return Effect.map(this.bytes, (bytes) => bytes.slice().buffer)
  }

  get text(): Effect.Effect<string, HttpClientError.ResponseError> {
    return Effect.map(this.bytes, (bytes) => new TextDecoder().decode(bytes))
  }

  get json(): Effect.Effect<unknown, HttpClientError.ResponseError> {
    return Effect.tryMap(this.text, {
      try: (text): unknown => (text === "" ? null : JSON.parse(text)),
      catch: (cause) => this.undecodable(cause)
    })
  }

  get urlParamsBody(): Effect.Effect<UrlParams.UrlParams, HttpClientError.ResponseError> {
    return Effect.map(this.text, (text) => UrlParams.fromInput(new URLSearchParams(text)))
  }

  get formData(): Effect.Effect<FormData, HttpClientError.ResponseError> {
    return Effect.flatMap(this.bytes, (bytes) =>
      Effect.tryPromise({
        try: () =>
          new globalThis.Response(bytes, {
            headers: { "content-type": this.headers["content-type"] ?? "" }
          }).formData(),
        catch: (cause) => this.undecodable(cause)
      })
    )
  }

  private undecodable(cause: unknown) {
    return new HttpClientError.ResponseError({ request: this.request, response: this, reason: "Decode", cause })
  }

  // Without the body: to show a response must not read it.
  override toJSON(): unknown {
    return {
      _id: "@effect/platform/HttpClientResponse",
      request: this.request.toJSON(),
      status: this.status,
      headers: Inspectable.redact(this.headers)
    }
  }
}

/** The length that a response announces, where it announces the length of a body that follows. */
const announced = (response: Response): number | undefined => {
  const text = response.headers["content-length"]
  if (text === undefined || !/^\d+$/.test(text)) return undefined
  return response.request.method === "HEAD" || response.status === 204 || response.status === 304
    ? undefined
    : Number(text)
}

/** How much of a body is read. */
export interface Bounds {
  /** Decoded bytes of this body. */
  readonly maxBytes: number
  /** Where they are counted while they are being read. */
  readonly room: ResponseRoom
}

/**
 * The body, counted. What is passed on piece by piece counts until the next piece is asked for; what is kept, until the stream ends.
 * The scope of the stream gives the room back, whatever ends it.
 */
const counted = (response: Response, { maxBytes, room }: Bounds, keeps: boolean, tooLarge: ResponseError): Body =>
  Stream.unwrapScoped(
    Effect.gen(function* () {
      const hold = yield* Effect.acquireRelease(
        Effect.sync(() => new Hold(room)),
        (held) => Effect.sync(() => held.release())
      )
      const pull = yield* Stream.toPull(response.stream)
      let received = 0
      return Stream.repeatEffectChunkOption(
        Effect.suspend(() => {
          if (!keeps) hold.release()
          return Effect.flatMap(pull, (chunk) => {
            let bytes = 0
            for (const piece of chunk) bytes += piece.length
            received += bytes
            const refusal = received > maxBytes ? tooLarge : noRoom(response, hold.take(bytes))
            return refusal === undefined ? Effect.succeed(chunk) : Effect.fail(Option.some(refusal))
          })
        })
      )
    })
  )

const noRoom = (response: Response, cause: ReturnType<ResponseRoom["take"]>): ResponseError | undefined =>
  cause === undefined
    ? undefined
    : new HttpClientError.ResponseError({
        request: response.request,
        response,
        reason: "Decode",
        description: cause.message,
        cause
      })

/** The response with a body that is read within its bounds. */
export const make = (response: Response, bounds: Bounds): Effect.Effect<Response> =>
  Effect.gen(function* () {
    const { maxBytes } = bounds
    const tooLarge = new HttpClientError.ResponseError({
      request: response.request,
      response,
      reason: "Decode",
      description: `the body is larger than ${maxBytes} bytes`
    })
    const body = (keeps: boolean): Body =>
      (announced(response) ?? 0) > maxBytes
        ? Stream.fromEffect(Effect.zipRight(discard(response), Effect.fail(tooLarge)))
        : counted(response, bounds, keeps, tooLarge)
    const bytes = yield* Stream.runCollect(body(true)).pipe(
      Effect.map(concat),
      // No body is an empty one, but to a reader of the stream.
      Effect.catchIf(
        (error) => error.reason === "EmptyBody",
        () => Effect.succeed(new Uint8Array(0))
      ),
      Effect.cached
    )
    return new Bounded(response, body(false), bytes)
  })

const concat = (chunks: Chunk.Chunk<Uint8Array>): Uint8Array<ArrayBuffer> => {
  const whole = new Uint8Array(Chunk.reduce(chunks, 0, (length, { length: more }) => length + more))
  let at = 0
  for (const bytes of chunks) {
    whole.set(bytes, at)
    at += bytes.length
  }
  return whole
}
