/** Bytes of responses in flight, and headers that cross origins (ARCP 1.1 §9.3, §14, 1.0 §14). */
import type { ServerResponse } from "node:http"
import { gzipSync } from "node:zlib"
import { FetchHttpClient, Headers, HttpClient, HttpClientError } from "@effect/platform"
import { describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Either, Exit, Fiber, Schedule, Scope, Stream } from "effect"
import { GuardedHttpClient, ResponseRoomFull } from "../../src/agent/index.js"
import { Room, TotalRoom } from "../../src/agent/ResponseRooms.js"
import { PermissionDenied } from "../../src/protocol/index.js"
import { gateOf } from "./gates.js"
import { clients, guarded, redirecting, server } from "./httpServers.js"

const mib = 1_048_576

/** A body of some kilobytes that is so many bytes long once it is decoded. */
const bomb = (bytes: number) => gzipSync(Buffer.alloc(bytes, 65), { level: 9 })

const bombs = (bytes: number) => {
  const body = bomb(bytes)
  return server((_request, response) => {
    response.writeHead(200, { "content-encoding": "gzip", "content-length": String(body.length) }).end(body)
    return true
  })
}

/** Sends a first piece at once; the test sends the rest. */
const held = (first: number) => {
  const open: Array<ServerResponse> = []
  return Effect.map(
    server((_request, response) => {
      response.write(Buffer.alloc(first, 66))
      open.push(response)
      return true
    }),
    (self) => ({ self, open })
  )
}

const cause = (error: unknown): unknown => (HttpClientError.isHttpClientError(error) ? error.cause : undefined)

/** A room, and what is taken of it now. */
const watched = (limit: number, total?: TotalRoom) => {
  const room = new Room("job", limit, total)
  const state = { now: 0, most: 0 }
  return {
    state,
    room: {
      take: (bytes: number) => {
        const refusal = room.take(bytes)
        if (refusal === undefined) state.most = Math.max(state.most, (state.now += bytes))
        return refusal
      },
      release: (bytes: number) => {
        room.release(bytes)
        state.now -= bytes
      }
    }
  }
}

const until = (holds: () => boolean) =>
  Effect.sync(holds).pipe(
    Effect.repeat({ until: (held) => held, schedule: Schedule.spaced("5 millis") }),
    Effect.timeout("20 seconds")
  )

describe("GuardedHttpClient, bytes of responses in flight", () => {
  const counting = (limit: number) =>
    Effect.map(HttpClient.HttpClient, (client) => {
      const { room, state } = watched(limit)
      const gate = { ...gateOf({ "net.fetch": ["http://127.0.0.1:*/**"] }), responses: room }
      return { state, http: GuardedHttpClient.make(client, gate) }
    })

  it.scopedLive("§14 forty bodies of 65 KB that decode to 64 MiB each take no more than the room of their job", () =>
    Effect.gen(function* () {
      const { origin } = yield* bombs(64 * mib)
      const { http, state } = yield* counting(16 * mib)
      const ends = yield* Effect.forEach(
        Array.from({ length: 40 }),
        () => Effect.either(Effect.flatMap(http.get(`${origin}/bomb`), (response) => response.text)),
        { concurrency: "unbounded" }
      )
      expect(state.most).toBeGreaterThan(0)
      expect(state.most).toBeLessThanOrEqual(16 * mib)
      expect(state.now).toBe(0)
      for (const end of ends) {
        const error = Either.getOrThrow(Either.flip(end))
        expect(error).toMatchObject({ _tag: "ResponseError", reason: "Decode" })
        expect(cause(error)).toMatchObject({ _tag: "ResponseRoomFull", scope: "job", limit: 16 * mib })
        expect(cause(error)).toBeInstanceOf(ResponseRoomFull)
      }
    }).pipe(Effect.provide(FetchHttpClient.layer))
  )

  it.scopedLive("§14 a stream takes one piece of the room at a time, whatever its length", () =>
    Effect.gen(function* () {
      const { origin } = yield* bombs(32 * mib)
      const { http, state } = yield* counting(2 * mib)
      const lengths = yield* Effect.forEach(
        [1, 2, 3, 4],
        () =>
          Effect.flatMap(http.get(`${origin}/bomb`), (response) =>
            Stream.runFold(response.stream, 0, (sum, bytes) => sum + bytes.length)
          ),
        { concurrency: "unbounded" }
      )
      expect(lengths).toEqual(Array.from({ length: 4 }, () => 32 * mib))
      expect(state.most).toBeLessThanOrEqual(2 * mib)
      expect(state.now).toBe(0)
    }).pipe(Effect.provide(FetchHttpClient.layer))
  )

  for (const { layer, name } of clients) {
    it.scopedLive(`§14 whatever ends a reading gives its room back, over ${name}`, () =>
      Effect.gen(function* () {
        const { open, self } = yield* held(10_000)
        const { http, state } = yield* counting(15_000)
        const get = Effect.map(http.get(`${self.origin}/x`), (response) => response)

        const reading = yield* Effect.fork(Effect.flatMap(get, (response) => response.text))
        yield* until(() => state.now === 10_000)
        // A second one finds no room, and does not cost the first its own.
        const refused = yield* Effect.flip(Effect.flatMap(get, (response) => response.arrayBuffer))
        expect(cause(refused)).toBeInstanceOf(ResponseRoomFull)
        expect(state.now).toBe(10_000)
        yield* Fiber.interrupt(reading)
        expect(state.now).toBe(0)

        // The end.
        const ending = yield* Effect.fork(Effect.flatMap(get, (response) => response.text))
        yield* until(() => state.now === 10_000)
        open.at(-1)!.end("z")
        expect(yield* Fiber.join(ending)).toHaveLength(10_001)
        expect(state.now).toBe(0)

        // A failure.
        const failing = yield* Effect.fork(Effect.flip(Effect.flatMap(get, (response) => response.text)))
        yield* until(() => state.now === 10_000)
        open.at(-1)!.destroy()
        expect(cause(yield* Fiber.join(failing))).not.toBeInstanceOf(ResponseRoomFull)
        expect(state.now).toBe(0)

        // A consumer that takes the first piece only, and one that fails.
        yield* Effect.flatMap(get, (response) => Stream.runDrain(Stream.take(response.stream, 1)))
        expect(state.now).toBe(0)
        yield* Effect.exit(
          Effect.flatMap(get, (response) => Stream.runForEach(response.stream, () => Effect.fail("no more")))
        )
        expect(state.now).toBe(0)

        // One that pulls, and leaves its scope.
        const scope = yield* Scope.make()
        const pull = yield* Scope.extend(
          Effect.flatMap(get, ({ stream }) => Stream.toPull(stream)),
          scope
        )
        yield* pull
        expect(state.now).toBe(10_000)
        yield* Scope.close(scope, Exit.void)
        expect(state.now).toBe(0)
      }).pipe(Effect.provide(layer))
    )
  }

  it.scopedLive("§14 a client whose gate has no room has one of its own", () =>
    Effect.gen(function* () {
      const { origin } = yield* bombs(4 * mib)
      const { http } = yield* guarded([`${origin}/**`], { maxBytesInFlight: mib })
      const error = yield* Effect.flip(Effect.flatMap(http.get(`${origin}/bomb`), (response) => response.json))
      expect(cause(error)).toMatchObject({ _tag: "ResponseRoomFull", scope: "client", limit: mib })
      const wide = yield* guarded([`${origin}/**`])
      const texts = yield* Effect.flatMap(wide.http.get(`${origin}/bomb`), (response) => response.text)
      expect(texts).toHaveLength(4 * mib)
      for (const maxBytesInFlight of [Number.NaN, -1]) {
        expect(() => GuardedHttpClient.make({} as HttpClient.HttpClient, gateOf({}), { maxBytesInFlight })).toThrow(
          RangeError
        )
      }
    }).pipe(Effect.provide(FetchHttpClient.layer))
  )
})

describe("the room of a job within that of its runtime", () => {
  it("§14 a job holds no more than is left for the others, and one that comes late finds room", () => {
    const total = new TotalRoom(100)
    const reached: Array<string> = []
    const job = () => new Room("job", 80, total, (scope) => reached.push(scope))
    const [first, second, third] = [job(), job(), job()]
    expect(first.take(50)).toBeUndefined()
    expect(first.take(1)).toMatchObject({ scope: "runtime", limit: 100 })
    expect(second.take(25)).toBeUndefined()
    expect(second.take(1)).toMatchObject({ scope: "runtime" })
    expect(third.take(12)).toBeUndefined()
    expect(total.free).toBe(13)
    first.release(50)
    expect(second.take(6)).toBeUndefined()
    expect(new Room("job", 10, total, (scope) => reached.push(scope)).take(11)).toMatchObject({
      scope: "job",
      limit: 10
    })
    expect(reached).toEqual(["runtime", "runtime", "job"])
  })

  it("§14 the end of a job gives back what its readers hold, once", () => {
    const total = new TotalRoom(100)
    const room = new Room("job", 80, total)
    const ended = new PermissionDenied({ message: "the job has ended" })
    expect(room.take(30)).toBeUndefined()
    room.close(ended)
    expect(total.free).toBe(100)
    room.release(30)
    room.close(ended)
    expect(total.free).toBe(100)
    expect(room.take(1)).toBe(ended)
  })
})

for (const { layer, name } of clients) {
  describe(`GuardedHttpClient over ${name}, headers and origins`, () => {
    const sent = {
      Authorization: "Bearer secret-1",
      "Proxy-Authorization": "Basic secret-2",
      "X-API-Key": "secret-3",
      Cookie: "a=secret-4",
      "X-Auth-Token": "secret-5",
      "Ocp-Apim-Subscription-Key": "secret-6",
      "x-amz-security-TOKEN": "secret-7",
      "X-Client-Secret": "secret-8",
      apikey: "secret-9",
      "X-Marked": "secret-10",
      "X-Own": "kept",
      "X-Keyboard": "kept"
    }
    const secretsIn = (headers: object | undefined) => JSON.stringify(headers).match(/secret-\d+/g) ?? []

    it.scopedLive("1.0 §14 what holds a credential stays with its scheme, host and port", () =>
      Effect.gen(function* () {
        const other = yield* server()
        const { origin, seen } = yield* server(redirecting)
        const { http } = yield* guarded([`${origin}/**`, `${other.origin}/**`])
        const to = (where: string) => `${origin}/r?307,${encodeURIComponent(where)}`
        const get = (url: string) =>
          http.get(url, { headers: sent }).pipe(
            Effect.flatMap((response) => response.text),
            Effect.locallyWith(Headers.currentRedactedNames, (names) => [...names, /^x-mark/g])
          )
        yield* get(to("/same"))
        expect(seen.at(-1)?.line).toBe("GET /same")
        expect(secretsIn(seen.at(-1)?.headers)).toHaveLength(10)
        yield* get(to(`${other.origin}/crossed`))
        expect(other.seen.at(-1)?.line).toBe("GET /crossed")
        expect(secretsIn(other.seen.at(-1)?.headers)).toEqual([])
        expect(other.seen.at(-1)?.headers).toMatchObject({ "x-own": "kept", "x-keyboard": "kept" })
      }).pipe(Effect.provide(layer))
    )

    it.scopedLive("1.0 §14 an agent keeps a header by its name, and no other", () =>
      Effect.gen(function* () {
        const other = yield* server()
        const { origin } = yield* server(redirecting)
        const { http } = yield* guarded([`${origin}/**`, `${other.origin}/**`])
        const url = `${origin}/r?302,${encodeURIComponent(`${other.origin}/crossed`)}`
        const keeping = http.pipe(GuardedHttpClient.keepHeaders(["X-Api-KEY"]))
        yield* Effect.flatMap(keeping.get(url, { headers: sent }), (response) => response.text)
        expect(secretsIn(other.seen.at(-1)?.headers)).toEqual(["secret-3"].concat("secret-10"))
        const both = GuardedHttpClient.keepHeaders(keeping, ["apikey"])
        yield* Effect.flatMap(both.get(url, { headers: sent }), (response) => response.text)
        expect(secretsIn(other.seen.at(-1)?.headers).toSorted()).toEqual(["secret-10", "secret-3", "secret-9"])
        // What one use keeps, the next one does not.
        yield* Effect.flatMap(http.get(url, { headers: sent }), (response) => response.text)
        expect(secretsIn(other.seen.at(-1)?.headers)).toEqual(["secret-10"])
      }).pipe(Effect.provide(layer))
    )
  })
}

it.scopedLive("§14 a body that is being read when its job ends fails at its next piece", () =>
  Effect.gen(function* () {
    const { open, self } = yield* held(1_000)
    const room = new Room("job", 10_000, new TotalRoom(20_000))
    const gate = { ...gateOf({ "net.fetch": [`${self.origin}/**`] }), responses: room }
    const http = GuardedHttpClient.make(yield* HttpClient.HttpClient, gate)
    const first = yield* Deferred.make<void>()
    const reading = yield* Effect.fork(
      Effect.flip(
        Effect.flatMap(http.get(`${self.origin}/x`), ({ stream }) =>
          Stream.runForEach(stream, () => Deferred.succeed(first, undefined))
        )
      )
    )
    yield* Deferred.await(first)
    room.close(new PermissionDenied({ message: "the job has ended" }))
    open[0]!.write("more")
    expect(cause(yield* Fiber.join(reading))).toMatchObject({ _tag: "PermissionDenied" })
  }).pipe(Effect.provide(FetchHttpClient.layer))
)
