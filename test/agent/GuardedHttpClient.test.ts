import {
  FetchHttpClient,
  HttpBody,
  HttpClient,
  HttpClientError,
  HttpClientRequest,
  HttpClientResponse
} from "@effect/platform"
import { NodeHttpClient } from "@effect/platform-node"
import { describe, expect, it } from "@effect/vitest"
import { Chunk, Effect, Either, Exit, FastCheck as fc, Schedule, type Scope, Stream } from "effect"
import { deniedCause } from "../../src/agent/Denied.js"
import { GuardedHttpClient } from "../../src/agent/index.js"
import { Canonical } from "../../src/authority/index.js"
import { failure, gateOf, refused } from "./gates.js"
import { clients, guarded, redirecting, server } from "./httpServers.js"
import { runs } from "../support/properties.js"

const text = (effect: Effect.Effect<HttpClientResponse.HttpClientResponse, HttpClientError.HttpClientError>) =>
  Effect.flatMap(effect, (response) => response.text)

const to = (status: number, where: string) => `/r?${status},${encodeURIComponent(where)}`

for (const { layer, name: client } of clients) {
  const run = (name: string, body: Effect.Effect<void, unknown, HttpClient.HttpClient | Scope.Scope>) =>
    it.scopedLive(name, () => Effect.provide(body, layer))

  describe(`GuardedHttpClient over ${client}, requests`, () => {
    run(
      "§9.3 fetches what the lease covers, by its canonical URL",
      Effect.gen(function* () {
        const { origin, port, seen } = yield* server()
        const { gate, http } = yield* guarded([`${origin}/api/**`])
        expect(yield* text(http.get(`${origin}/api/a`))).toBe("GET /api/a")
        expect(yield* text(http.get(new URL(`${origin}/api/b?x=1#top`)))).toBe("GET /api/b?x=1")
        const params = http.get(`${origin}/api/b?x=1`, { urlParams: { y: "a b" }, hash: "part" })
        expect(yield* text(params)).toBe("GET /api/b?x=1&y=a%2Bb".replace("%2B", "+"))
        expect(yield* text(http.get(`HTTP://127.1:${port}/x/../api/./%7e`))).toBe("GET /api/~")
        expect(yield* text(http.post(`${origin}/api/p`, { body: HttpBody.unsafeJson({ a: 1 }) }))).toBe("POST /api/p")
        expect(seen.at(-1)).toMatchObject({ body: '{"a":1}', headers: { "content-type": "application/json" } })
        expect(gate.denied).toEqual([])
        const response = yield* http.get(`HTTP://0177.0.0.1:${port}/api/q`)
        expect(response.request.url).toBe(`${origin}/api/q`)
      })
    )

    run(
      "1.0 §14 no spelling of a URL gets around the lease",
      Effect.gen(function* () {
        const { origin, port, seen } = yield* server()
        const { http } = yield* guarded([`${origin}/api/**`, "https://allowed.example/**"])
        const host = `127.0.0.1:${port}`
        const corpus = [
          `${origin}/`,
          `${origin}/apis`,
          `${origin}/API/a`,
          `${origin}/api/../secret`,
          `${origin}/api/%2e%2e/secret`,
          `${origin}/api/%252e%252e/secret`,
          `${origin}/api/..;/secret`,
          `${origin}/api/..%2fsecret`,
          `${origin}/api/x%5c..%5csecret`,
          `${origin}/api\\..\\secret`,
          `${origin}/api/．．/secret`,
          `${origin}/api/%00`,
          `${origin}/api/%ff`,
          ` ${origin}/secret`,
          `${origin}/api/\t../secret`,
          `http://user@${host}/api/a`,
          `http://user:hunter2@${host}/api/a`,
          `http://@${host}/api/a`,
          `http://allowed.example@${host}/secret`,
          `http://${host}@allowed.example/api/a`,
          `http://allowed.example\\@${host}/secret`,
          `http://${host}#@allowed.example/`,
          `http://localhost:${port}/api/a`,
          `http://[::1]:${port}/api/a`,
          `http://[::ffff:127.0.0.1]:${port}/api/a`,
          `http://127.0.0.2:${port}/api/a`,
          `http://127.0.0.1.nip.example:${port}/api/a`,
          `http://127.0.0.1../api/a`,
          `http://127.0.0.1%2e:${port}/api/a`,
          "http://127.0.0.1/api/a",
          `https://${host}/api/a`,
          `ws://${host}/api/a`,
          `//${host}/api/a`,
          "/api/a",
          "file:///etc/passwd",
          "data:text/plain,hello",
          "blob:nodedata:1",
          "javascript:1",
          "http://",
          "",
          `${origin}/api/${"x".repeat(9000)}`
        ]
        for (const url of corpus) {
          const error = yield* refused(http.get(url))
          expect(HttpClientError.isHttpClientError(error) && error._tag, url).toBe("RequestError")
          expect(`${error}`).not.toContain("hunter2")
        }
        // The query is matched too, wherever it comes from.
        const exact = yield* guarded([`${origin}/api/q?x=1`])
        expect(yield* text(exact.http.get(`${origin}/api/q`, { urlParams: { x: "1" } }))).toBe("GET /api/q?x=1")
        yield* refused(exact.http.get(`${origin}/api/q?x=1`, { urlParams: { x: "2" } }))
        yield* refused(exact.http.get(`${origin}/api/q`))
        expect(seen.map(({ line }) => line)).toEqual(["GET /api/q?x=1"])
      })
    )

    run(
      "1.0 §14 the same server by another spelling is the same URL",
      Effect.gen(function* () {
        const { origin, port } = yield* server()
        const { gate, http } = yield* guarded([`${origin}/api/**`])
        for (const host of ["2130706433", "0x7f000001", "0x7f.1", "127.0.0.1.", "0177.0.0.1", "127.1"]) {
          expect(yield* text(http.get(`http://${host}:${port}/api/a`))).toBe("GET /api/a")
        }
        expect(new Set(gate.allowed)).toEqual(new Set([`net.fetch ${origin}/api/a`]))
      })
    )

    run(
      "1.0 §14 neither headers nor methods lead elsewhere",
      Effect.gen(function* () {
        const { origin, port, seen } = yield* server()
        const { http } = yield* guarded([`${origin}/api/**`])
        const headers = { Host: "internal.example", "Proxy-Connection": "keep-alive", TE: "trailers", "X-Own": "kept" }
        yield* text(http.get(`${origin}/api/a`, { headers }))
        expect(seen[0]?.headers.host).toBe(`127.0.0.1:${port}`)
        expect(seen[0]?.headers).toMatchObject({ "x-own": "kept" })
        expect(Object.keys(seen[0]!.headers)).not.toContain("te")
        for (const headers of [
          { Upgrade: "websocket", Connection: "Upgrade" },
          { connection: "keep-alive, Upgrade" },
          { upgrade: "h2c" }
        ]) {
          yield* refused(http.get(`${origin}/api/a`, { headers }))
        }
        for (const method of ["CONNECT", "TRACE", "get /secret HTTP/1.1\r\nx: "]) {
          yield* refused(
            http.execute(HttpClientRequest.setMethod(HttpClientRequest.get(`${origin}/api/a`), method as "GET"))
          )
        }
        expect(seen).toHaveLength(1)
      })
    )

    run(
      "1.0 §14 no second request rides on the body of a checked one",
      Effect.gen(function* () {
        const { origin, seen } = yield* server()
        const { http } = yield* guarded([`${origin}/api/**`])
        const smuggled = "xGET /secret HTTP/1.1\r\nhost: a\r\n\r\n"
        const post = HttpClientRequest.post(`${origin}/api/a`)
        const lied = HttpClientRequest.setHeader(HttpClientRequest.bodyText(post, smuggled), "content-length", "1")
        yield* text(http.execute(lied))
        yield* text(http.execute(HttpClientRequest.setHeader(lied, "transfer-encoding", "chunked")))
        const raw = HttpClientRequest.setBody(
          post,
          HttpBody.raw(smuggled, { contentType: "text/plain", contentLength: 1 })
        )
        yield* text(http.execute(raw))
        expect(seen.map(({ body }) => body)).toEqual([smuggled, smuggled, smuggled])
        const stream = Stream.make(new TextEncoder().encode(smuggled))
        const ofLength = (length?: number) =>
          HttpClientRequest.bodyStream(post, stream, length === undefined ? {} : { contentLength: length })
        yield* Effect.exit(http.execute(ofLength(1)))
        yield* text(http.execute(ofLength(smuggled.length)))
        yield* text(http.execute(HttpClientRequest.setHeader(ofLength(), "content-length", "1")))
        for (const method of ["GET", "HEAD", "OPTIONS", "DELETE"] as const) {
          const error = yield* Effect.flip(http.execute(HttpClientRequest.setMethod(ofLength(), method)))
          expect(error).toMatchObject({ _tag: "RequestError", reason: "Encode" })
        }
        yield* text(http.execute(HttpClientRequest.setMethod(HttpClientRequest.bodyText(post, "gone"), "DELETE")))
        expect(seen.at(-1)).toMatchObject({ line: "DELETE /api/a", body: "gone" })
        expect(seen.map(({ line }) => line).filter((line) => !/^(POST|DELETE) \/api\/a$/.test(line))).toEqual([])
        // Undici's dispatcher does not know the FormData of the platform again.
        if (client.includes("undici")) return
        const form = new FormData()
        form.set("field", "value")
        yield* text(http.execute(HttpClientRequest.bodyFormData(post, form)))
        expect(seen.at(-1)?.body).toContain("value")
      })
    )
  })

  describe(`GuardedHttpClient over ${client}, redirects`, () => {
    run(
      "1.0 §14 every hop is checked before it is made",
      Effect.gen(function* () {
        const other = yield* server()
        const { origin, port, seen } = yield* server(redirecting)
        const { gate, http } = yield* guarded([`${origin}/r?**`, `${origin}/api/**`])
        expect(yield* text(http.get(origin + to(302, "/api/a")))).toBe("GET /api/a")
        expect(yield* text(http.get(origin + to(301, to(308, "api/./b"))))).toBe("GET /api/b")
        expect(yield* text(http.get(origin + to(307, `HTTP://127.1:${port}/api/c#x`)))).toBe("GET /api/c")
        expect(gate.denied).toEqual([])
        const calls = seen.length
        const outside = [
          "/secret",
          "/api/../secret",
          "/api/%2e%2e/secret",
          "/api\\..\\..\\secret",
          `${other.origin}/api/a`,
          `//127.0.0.1:${other.port}/api/a`,
          `http://user:hunter2@127.0.0.1:${port}/api/a`,
          `https://127.0.0.1:${port}/api/a`,
          "ftp://127.0.0.1/api/a",
          "file:///etc/passwd",
          "data:text/plain,x",
          "http://[::1/",
          `/api/${"x".repeat(9000)}`
        ]
        for (const where of outside) {
          const error = yield* refused(http.get(origin + to(302, where)))
          expect(error._tag).toBe("RequestError")
          expect(String(error)).not.toContain("hunter2")
        }
        expect(other.seen).toEqual([])
        expect(seen.slice(calls).filter(({ line }) => !line.startsWith("GET /r?"))).toEqual([])
      })
    )

    run(
      "1.0 §14 redirects come to an end",
      Effect.gen(function* () {
        const { origin, seen } = yield* server((request, response) => {
          if (request.url !== "/loop") return false
          response.writeHead(302, { location: "/loop" }).end()
          return true
        })
        const { http } = yield* guarded([`${origin}/**`])
        const error = yield* Effect.flip(http.get(`${origin}/loop`))
        expect(error).toMatchObject({
          _tag: "ResponseError",
          reason: "StatusCode",
          description: "more than 10 redirects"
        })
        expect(seen).toHaveLength(11)
        const none = yield* guarded([`${origin}/**`], { maxRedirects: 0 })
        expect((yield* none.http.get(`${origin}/loop`)).status).toBe(302)
        expect(seen).toHaveLength(12)
      })
    )

    run(
      "1.0 §14 methods and bodies are repeated as Fetch says",
      Effect.gen(function* () {
        const { origin, seen } = yield* server(redirecting)
        const { http } = yield* guarded([`${origin}/**`])
        const cases = [
          ["POST", 301, "GET"],
          ["POST", 302, "GET"],
          ["POST", 303, "GET"],
          ["POST", 307, "POST"],
          ["POST", 308, "POST"],
          ["PUT", 301, "PUT"],
          ["PUT", 302, "PUT"],
          ["PUT", 303, "GET"],
          ["PUT", 307, "PUT"],
          ["DELETE", 303, "GET"],
          ["PATCH", 308, "PATCH"]
        ] as const
        for (const [method, status, becomes] of cases) {
          const request = HttpClientRequest.make(method)(origin + to(status, "/end"), { body: HttpBody.text("body") })
          yield* text(http.execute(request))
          const last = seen.at(-1)!
          expect(`${method} ${status} ${last.line} ${last.body}`).toBe(
            `${method} ${status} ${becomes} /end ${becomes === "GET" ? "" : "body"}`
          )
          expect(last.headers["content-type"]).toBe(becomes === "GET" ? undefined : "text/plain")
        }
        const stream = HttpClientRequest.bodyStream(
          HttpClientRequest.post(origin + to(307, "/end")),
          Stream.make(new Uint8Array([65, 66]))
        )
        yield* text(http.execute(stream))
        expect(seen.at(-1)).toMatchObject({ line: "POST /end", body: "AB" })
        expect((yield* http.head(origin + to(303, "/end"))).status).toBe(200)
        expect(seen.at(-1)?.line).toBe("HEAD /end")
        // Other answers of this kind are answers.
        expect((yield* http.get(origin + to(300, "/end"))).status).toBe(300)
        expect((yield* http.get(origin + to(304, "/end"))).status).toBe(304)
      })
    )

    run(
      "1.0 §14 secrets stay with the origin that they were meant for",
      Effect.gen(function* () {
        const other = yield* server(redirecting)
        const { origin, seen } = yield* server(redirecting)
        const { http } = yield* guarded([`${origin}/**`, `${other.origin}/**`])
        const headers = { Authorization: "Bearer s", Cookie: "a=b", "Proxy-Authorization": "Basic s", "X-Own": "kept" }
        yield* text(http.get(origin + to(302, "/same"), { headers }))
        expect(seen.at(-1)?.headers).toMatchObject({ authorization: "Bearer s", cookie: "a=b", "x-own": "kept" })
        // There and back again: what was dropped stays dropped.
        yield* text(http.get(origin + to(302, `${other.origin}${to(307, `${origin}/back`)}`), { headers }))
        for (const last of [other.seen.at(-1), seen.at(-1)]) {
          expect(last?.headers["x-own"]).toBe("kept")
          expect(Object.keys(last!.headers).filter((key) => /auth|cookie/.test(key))).toEqual([])
        }
        expect(seen.at(-1)?.line).toBe("GET /back")
        // What the client itself adds is added to the request, not to every hop.
        const client = yield* HttpClient.HttpClient
        const tokened = GuardedHttpClient.make(
          HttpClient.mapRequest(client, HttpClientRequest.bearerToken("own")),
          gateOf({ "net.fetch": [`${origin}/**`, `${other.origin}/**`] })
        )
        yield* text(tokened.get(origin + to(302, `${other.origin}/t`)))
        expect(seen.at(-1)?.headers.authorization).toBe("Bearer own")
        expect(other.seen.at(-1)?.line).toBe("GET /t")
        expect(other.seen.at(-1)?.headers.authorization).toBeUndefined()
      })
    )

    run(
      "1.0 §14 a client that follows redirects by itself is not believed",
      Effect.gen(function* () {
        const { origin } = yield* server(redirecting)
        const client = HttpClient.followRedirects(yield* HttpClient.HttpClient)
        const gate = gateOf({ "net.fetch": [`${origin}/**`] })
        const http = GuardedHttpClient.make(client, gate)
        expect(yield* text(http.get(`${origin}/plain`))).toBe("GET /plain")
        yield* refused(http.get(origin + to(302, "/end")))
      })
    )
  })

  describe(`GuardedHttpClient over ${client}, responses`, () => {
    const large = (announced: boolean) =>
      server((_request, response, self) => {
        if (announced) response.writeHead(200, { "content-length": String(1024 * 1024 * 1024) })
        const write = () => {
          while (!response.destroyed && response.write(Buffer.alloc(16_384, 65))) self.written += 16_384
          self.written += 16_384
        }
        response.on("drain", write)
        write()
        return true
      })

    for (const announced of [true, false]) {
      run(
        `1.0 §14 a response that is too large fails however it is read, ${announced ? "with" : "without"} content-length`,
        Effect.gen(function* () {
          const self = yield* large(announced)
          const { http } = yield* guarded([`${self.origin}/**`], { maxResponseBytes: 100_000 })
          const readers: ReadonlyArray<
            (response: HttpClientResponse.HttpClientResponse) => Effect.Effect<unknown, unknown>
          > = [
            (response) => response.text,
            (response) => response.json,
            (response) => response.arrayBuffer,
            (response) => response.urlParamsBody,
            (response) => response.formData,
            (response) => Stream.runDrain(response.stream)
          ]
          for (const read of readers) {
            const response = yield* http.get(`${self.origin}/x`)
            const error = yield* Effect.flip(read(response))
            expect(error).toMatchObject({
              _tag: "ResponseError",
              reason: "Decode",
              description: "the body is larger than 100000 bytes"
            })
          }
          // The body is given up: the server notices, for every one.
          yield* Effect.repeat(
            Effect.sync(() => self.aborted),
            {
              until: (aborted) => aborted === readers.length,
              schedule: Schedule.spaced("5 millis")
            }
          ).pipe(Effect.timeout("1 minute"))
        })
      )
    }

    run(
      "1.0 §14 a response within the limit is what the server sent, however often it is read",
      Effect.gen(function* () {
        const { origin } = yield* server((request, response) => {
          if (request.url === "/none") response.writeHead(204).end()
          else if (request.url === "/form")
            response.setHeader("content-type", "application/x-www-form-urlencoded").end("a=1&b=2")
          else if (request.url === "/bad") response.end("{")
          else response.setHeader("set-cookie", "k=v").end('{"größe":[1,2]}')
          return true
        })
        const { http } = yield* guarded([`${origin}/**`], { maxResponseBytes: 17 })
        const response = yield* http.get(`${origin}/json`)
        expect(yield* response.text).toBe('{"größe":[1,2]}')
        expect(yield* response.json).toEqual({ größe: [1, 2] })
        expect((yield* response.arrayBuffer).byteLength).toBe(17)
        expect(response.status).toBe(200)
        expect(JSON.stringify(response.cookies)).toContain("k")
        expect(JSON.stringify(response)).toContain('"status":200')
        const chunks = yield* Stream.runCollect((yield* http.get(`${origin}/json`)).stream)
        expect(Chunk.reduce(chunks, 0, (sum, bytes) => sum + bytes.length)).toBe(17)
        const form = yield* http.get(`${origin}/form`)
        expect((yield* form.formData).get("b")).toBe("2")
        expect(yield* form.urlParamsBody).toEqual([
          ["a", "1"],
          ["b", "2"]
        ])
        const none = yield* http.get(`${origin}/none`)
        expect(yield* none.text).toBe("")
        expect(yield* none.json).toBe(null)
        expect(yield* Effect.flip((yield* http.get(`${origin}/bad`)).json)).toMatchObject({
          _tag: "ResponseError",
          reason: "Decode"
        })
        const exact = yield* guarded([`${origin}/**`], { maxResponseBytes: 16 })
        expect(Exit.isFailure(yield* Effect.exit(text(exact.http.get(`${origin}/json`))))).toBe(true)
      })
    )

    run(
      "1.0 §14 the length that HEAD announces is no body",
      Effect.gen(function* () {
        const { origin } = yield* server((_request, response) => {
          response.writeHead(200, { "content-length": "5000000" }).end()
          return true
        })
        const { http } = yield* guarded([`${origin}/**`], { maxResponseBytes: 10 })
        const response = yield* http.head(`${origin}/x`)
        expect(response.headers["content-length"]).toBe("5000000")
        expect(yield* response.text).toBe("")
      })
    )
  })

  describe(`GuardedHttpClient over ${client}, combinators`, () => {
    run(
      "§9.3 what is built on a guarded client is guarded",
      Effect.gen(function* () {
        let failures = 2
        const { origin, seen } = yield* server((request, response) => {
          if (redirecting(request, response)) return true
          if (request.url !== "/api/flaky" || failures-- <= 0) return false
          response.writeHead(503).end()
          return true
        })
        const { gate, http } = yield* guarded([`${origin}/api/**`, `${origin}/r?**`], { maxRedirects: 0 })
        const api = http.pipe(
          HttpClient.mapRequest(HttpClientRequest.prependUrl(`${origin}/api`)),
          HttpClient.filterStatusOk,
          HttpClient.retryTransient({ times: 3 })
        )
        expect(yield* text(api.get("/flaky"))).toBe("GET /api/flaky")
        expect(seen).toHaveLength(3)
        const denials = gate.denied.length
        yield* refused(api.get("/../secret"))
        // A denial is final: it is not retried.
        expect(gate.denied.length).toBe(denials + 1)
        const following = HttpClient.followRedirects(http)
        expect(yield* text(following.get(origin + to(302, "/api/a")))).toBe("GET /api/a")
        yield* refused(following.get(origin + to(302, "/secret")))
        const transformed = HttpClient.transform(http, (effect) => Effect.retry(effect, { times: 2 }))
        yield* refused(transformed.get(`${origin}/secret`))
        expect(seen.some(({ line }) => line.includes("secret") && !line.includes("/r?"))).toBe(false)
        const missing = yield* Effect.flip(
          http.pipe(HttpClient.filterStatus((status) => status === 418)).get(`${origin}/api/a`)
        )
        expect(missing).toMatchObject({ _tag: "ResponseError", reason: "StatusCode" })
      })
    )

    run(
      "§9.3 what a client was built with is checked too",
      Effect.gen(function* () {
        const { origin } = yield* server()
        const built = HttpClient.mapRequest(yield* HttpClient.HttpClient, HttpClientRequest.prependUrl(`${origin}/api`))
        const gate = gateOf({ "net.fetch": [`${origin}/api/**`] })
        const http = GuardedHttpClient.make(built, gate)
        expect(yield* text(http.get("/a"))).toBe("GET /api/a")
        yield* refused(http.get("/../secret"))
        yield* refused(http.get("@evil.example/"))
      })
    )

    run(
      "§9.5 a lease that expires between two hops ends the request",
      Effect.gen(function* () {
        const gate = gateOf({ "net.fetch": ["http://127.0.0.1:*/**"] })
        const { origin, seen } = yield* server((request, response) => {
          gate.expired = true
          return redirecting(request, response)
        })
        const http = GuardedHttpClient.make(yield* HttpClient.HttpClient, gate)
        const error = failure(yield* Effect.exit(http.get(origin + to(302, "/end"))))
        expect(deniedCause(error)?.code).toBe("LEASE_EXPIRED")
        expect(seen).toHaveLength(1)
      })
    )
  })
}

describe("GuardedHttpClient, what a client finds in its context", () => {
  it.scopedLive("1.0 §14 options of fetch neither follow redirects nor hide headers from the check", () =>
    Effect.gen(function* () {
      const other = yield* server()
      const { origin, port, seen } = yield* server(redirecting)
      const { http } = yield* guarded([`${origin}/**`, `${other.origin}/open`], {
        requestInit: { headers: { "x-own": "1" } }
      })
      const init = {
        redirect: "follow",
        method: "DELETE",
        headers: { host: "internal.example", authorization: "Bearer s", "content-length": "3" }
      } as const
      const provided = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
        Effect.provideService(effect, FetchHttpClient.RequestInit, init)
      yield* provided(refused(http.get(origin + to(302, `${other.origin}/secret`))))
      expect(other.seen).toEqual([])
      expect(seen[0]?.headers).toMatchObject({ host: `127.0.0.1:${port}`, authorization: "Bearer s" })
      yield* provided(text(http.get(origin + to(302, `${other.origin}/open`))))
      expect(other.seen.map(({ headers, line }) => [line, headers.authorization])).toEqual([["GET /open", undefined]])
      yield* text(http.get(`${origin}/own`))
      expect(seen.at(-1)?.headers["x-own"]).toBe("1")
    }).pipe(Effect.provide(FetchHttpClient.layer))
  )

  it.scopedLive("1.0 §14 options of undici do not add to a request that was checked", () =>
    Effect.gen(function* () {
      const { origin, seen } = yield* server()
      const { http } = yield* guarded([`${origin}/a`])
      const options = { path: "/b", method: "DELETE", query: { admin: "1" }, upgrade: "websocket" } as const
      yield* Effect.provideService(text(http.get(`${origin}/a`)), NodeHttpClient.UndiciRequestOptions, options)
      expect(seen.map(({ line }) => line)).toEqual(["GET /a"])
    }).pipe(Effect.provide(NodeHttpClient.layerUndici))
  )

  it.effect("1.0 §14 a fetch that follows redirects in spite of everything is not believed", () =>
    Effect.gen(function* () {
      const answer = (url: string, redirected: boolean) =>
        Object.defineProperties(new Response("x"), { url: { value: url }, redirected: { value: redirected } })
      const gate = gateOf({ "net.fetch": ["https://allowed.example/**"] })
      const http = GuardedHttpClient.make(yield* HttpClient.HttpClient, gate)
      const through = (response: Response) =>
        http.get("https://allowed.example/a#part").pipe(
          Effect.provideService(FetchHttpClient.Fetch, ((url, init) => {
            expect([String(url), init?.redirect]).toEqual(["https://allowed.example/a", "manual"])
            return globalThis.Promise.resolve(response)
          }) as typeof fetch)
        )
      yield* refused(through(answer("https://evil.example/", false)))
      yield* refused(through(answer("https://allowed.example/a", true)))
      yield* refused(through(answer("", true)))
      yield* refused(through(Response.error()))
      expect(yield* text(through(answer("https://allowed.example/a", false)))).toBe("x")
      expect(yield* text(through(answer("", false)))).toBe("x")
    }).pipe(Effect.provide(FetchHttpClient.layer))
  )

  it("1.0 §14 a client parses a canonical URL to the same URL", () => {
    const part = fc.oneof(
      fc.webPath(),
      fc.string({ unit: "binary", maxLength: 12 }),
      fc.constantFrom("%7e", "%2F", "'", "|", "^", "[", "~", "%")
    )
    fc.assert(
      fc.property(fc.array(part, { maxLength: 4 }), fc.webQueryParameters(), (path, query) => {
        const canonical = Canonical.url(`https://Example.com:443/${path.join("/")}?${query}'`)
        if (Either.isLeft(canonical)) return
        expect(new URL(canonical.right).href).toBe(canonical.right)
      }),
      { numRuns: runs(1000) }
    )
  })

  it.effect("§9.3 a client that is none of the platform's own is guarded as well", () =>
    Effect.gen(function* () {
      const sent: Array<string> = []
      const foreign = Object.assign(Object.create(null) as HttpClient.HttpClient, {
        execute: (request: HttpClientRequest.HttpClientRequest) =>
          Effect.sync(() => {
            sent.push(request.url)
            return HttpClientResponse.fromWeb(request, new Response("x"))
          })
      })
      const http = GuardedHttpClient.make(foreign, gateOf({ "net.fetch": ["https://allowed.example/**"] }))
      expect(yield* text(http.get("HTTPS://Allowed.example/a"))).toBe("x")
      yield* refused(http.get("https://evil.example/"))
      expect(sent).toEqual(["https://allowed.example/a"])
    })
  )
})
