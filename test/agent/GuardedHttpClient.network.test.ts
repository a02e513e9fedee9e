/** The network has an inside: what a wildcard in a lease's host does not reach (ARCP 1.1 §9.3, 1.0 §14). */
import { readFileSync } from "node:fs"
import { createServer as createTlsServer } from "node:https"
import type { AddressInfo } from "node:net"
import { networkInterfaces } from "node:os"
import { fileURLToPath } from "node:url"
import { FetchHttpClient, HttpClient, HttpClientError, HttpClientRequest } from "@effect/platform"
import { NodeHttpClient } from "@effect/platform-node"
import { describe, expect, it } from "@effect/vitest"
import { Context, Effect, Layer, TestClock, type Scope } from "effect"
import { deniedCause } from "../../src/agent/Denied.js"
import { ambient } from "../../src/agent/Guard.js"
import { guard, GuardedHttpClient, ResolveError, Resolver } from "../../src/agent/index.js"
import { make as makePinned } from "../../src/agent/internal/pinned.js"
import { NodeResolver, PinnedHttpClient } from "../../src/agent/node.js"
import { gateOf, refused } from "./gates.js"
import { clients, redirecting, server } from "./httpServers.js"

const publicAddress = "93.184.216.34"

/** A resolver with these answers, one after another for each name; the last one stays. It counts. */
const resolverOf = (names: Readonly<Record<string, ReadonlyArray<ReadonlyArray<string>>>>) => {
  const asked: Array<string> = []
  return {
    asked,
    resolve: (hostname: string) =>
      Effect.suspend(() => {
        const answers = names[hostname]
        const before = asked.filter((name) => name === hostname).length
        asked.push(hostname)
        const answer = answers?.[Math.min(before, answers.length - 1)]
        return answer === undefined
          ? Effect.fail(new ResolveError({ hostname, message: `getaddrinfo ENOTFOUND ${hostname}` }))
          : Effect.succeed(answer)
      })
  }
}
type TestResolver = ReturnType<typeof resolverOf>

const guardedBy = (globs: ReadonlyArray<string>, resolver?: TestResolver) =>
  Effect.map(HttpClient.HttpClient, (client) => {
    const gate = gateOf({ "net.fetch": globs })
    return { gate, http: GuardedHttpClient.make(client, gate, { resolver }) }
  })

const text = (http: HttpClient.HttpClient, url: string) => Effect.flatMap(http.get(url), (response) => response.text)

const to = (where: string) => `/r?302,${encodeURIComponent(where)}`

const all = [...clients, { name: "PinnedHttpClient", layer: PinnedHttpClient.layer() }]

for (const { layer, name } of all) {
  const run = (title: string, body: Effect.Effect<void, unknown, HttpClient.HttpClient | Scope.Scope>) =>
    it.scopedLive(title, () => Effect.provide(body, layer))

  describe(`${name}, addresses`, () => {
    run(
      "1.0 §14 a wildcard reaches no loopback server, in any spelling of its address",
      Effect.gen(function* () {
        const { port, seen } = yield* server()
        for (const globs of [["http://**"], ["**"], ["http://*:*/**"], ["http://127.0.0.*:*/**", "http://**"]]) {
          const { gate, http } = yield* guardedBy(globs, resolverOf({}))
          for (const host of [
            "127.0.0.1",
            "127.1",
            "0x7f.1",
            "0177.0.0.1",
            "2130706433",
            "127.0.0.1.",
            "127.255.255.254",
            "0.0.0.0",
            "0",
            "[::1]",
            "[::]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[::127.0.0.1]",
            "[64:ff9b::7f00:1]",
            "localhost",
            "LOCALHOST.",
            "a.localhost"
          ]) {
            const error = yield* refused(http.get(`http://${host}:${port}/secret`))
            expect(deniedCause(error)?.message, host).toMatch(/name the host without a wildcard in net\.fetch/)
          }
          expect(gate.denied).toHaveLength(18)
        }
        expect(seen).toEqual([])
      })
    )

    run(
      "1.0 §14 a wildcard reaches no private, link-local, metadata or reserved address",
      Effect.gen(function* () {
        const own = Object.values(networkInterfaces())
          .flatMap((found) => found ?? [])
          .filter(({ family, internal }) => family === "IPv4" && !internal)
          .map(({ address }) => address)
        const { http } = yield* guardedBy(["http://**", "https://**"], resolverOf({}))
        for (const host of [
          ...own.filter((address) => /^(10|172|192\.168)\./.test(address)),
          "169.254.169.254",
          "2852039166",
          "[fd00:ec2::254]",
          "[::ffff:a9fe:a9fe]",
          "100.100.100.200",
          "168.63.129.16",
          "10.0.0.1",
          "172.16.0.1",
          "192.168.1.1",
          "[fe80::1]",
          "[fc00::1]",
          "[2002:7f00:1::1]",
          "224.0.0.1",
          "[ff02::1]",
          "255.255.255.255",
          "240.0.0.1",
          "192.0.2.1",
          "198.18.0.1"
        ]) {
          yield* refused(http.get(`http://${host}/latest/meta-data`))
          yield* refused(http.get(`https://${host}:8443/`))
        }
      })
    )

    run(
      "§9.3 a pattern that names the host reaches it, beside a wildcard or alone, and only where it covers the URL",
      Effect.gen(function* () {
        const { origin, port, seen } = yield* server()
        const { http } = yield* guardedBy(["http://**", `${origin}/api/**`, `http://localhost:${port}/api/**`])
        expect(yield* text(http, `${origin}/api/a`)).toBe("GET /api/a")
        expect(yield* text(http, `http://0x7f.1:${port}/api/b`)).toBe("GET /api/b")
        expect(yield* text(http, `http://localhost:${port}/api/c`)).toBe("GET /api/c")
        yield* refused(http.get(`${origin}/secret`))
        yield* refused(http.get(`http://[::ffff:127.0.0.1]:${port}/api/a`))
        const { http: ports } = yield* guardedBy(["http://127.0.0.1:*/**"])
        expect(yield* text(ports, `${origin}/d`)).toBe("GET /d")
        expect(seen.map(({ line }) => line)).toEqual(["GET /api/a", "GET /api/b", "GET /api/c", "GET /d"])
      })
    )

    run(
      "1.0 §14 a redirect from a named host does not lead a wildcard inside",
      Effect.gen(function* () {
        const inside = yield* server()
        const { origin, seen } = yield* server(redirecting)
        const resolver = resolverOf({ "rebind.test": [["127.0.0.1"]] })
        const { gate, http } = yield* guardedBy(["http://**", `${origin}/r?**`], resolver)
        for (const where of [
          `${inside.origin}/secret`,
          `//127.0.0.1:${inside.port}/secret`,
          `http://2130706433:${inside.port}/secret`,
          `http://[::ffff:127.0.0.1]:${inside.port}/secret`,
          `http://localhost:${inside.port}/secret`,
          `http://rebind.test:${inside.port}/secret`,
          "http://169.254.169.254/latest/meta-data"
        ]) {
          yield* refused(http.get(origin + to(where)))
        }
        expect(gate.denied).toHaveLength(7)
        expect(seen).toHaveLength(7)
        expect(inside.seen).toEqual([])
      })
    )
  })

  describe(`${name}, names`, () => {
    run(
      "1.0 §14 a name that resolves inside is refused before it is contacted, if only one of its addresses is inside",
      Effect.gen(function* () {
        const { port, seen } = yield* server()
        const resolver = resolverOf({
          "loop.test": [["127.0.0.1"]],
          "loop6.test": [["::1"]],
          "mapped.test": [["::ffff:127.0.0.1"]],
          "metadata.test": [["169.254.169.254"]],
          "mixed.test": [[publicAddress, "127.0.0.1"]],
          "zone.test": [["fe80::1%lo"]],
          "odd.test": [["0177.0.0.1"]]
        })
        const { http } = yield* guardedBy(["http://**"], resolver)
        for (const host of ["loop", "loop6", "mapped", "metadata", "mixed", "zone", "odd"]) {
          const error = yield* refused(http.get(`http://${host}.test:${port}/secret`))
          // The job learns that the name exists, not where it leads.
          expect(String(deniedCause(error)?.message)).not.toMatch(/127\.0|169\.254|::1|fe80|0177/)
        }
        expect(seen).toEqual([])
      })
    )

    run(
      "1.0 §14 a name is resolved only if the lease covers the URL, and failing to resolve it is no denial",
      Effect.gen(function* () {
        const resolver = resolverOf({ "none.test": [[]] })
        const { gate, http } = yield* guardedBy(["http://*.test/**"], resolver)
        yield* refused(http.get("http://secret.example/"))
        expect(resolver.asked).toEqual([])
        for (const host of ["unknown.test", "none.test"]) {
          const error = yield* Effect.flip(http.get(`http://${host}/`))
          expect(error).toMatchObject({ _tag: "RequestError", reason: "Transport" })
          expect(deniedCause(error)).toBeUndefined()
        }
        expect(gate.denied).toHaveLength(1)
      })
    )

    run(
      "1.0 §14 without a resolver, names of local networks are inside",
      Effect.gen(function* () {
        const { http } = yield* guardedBy(["http://**"])
        for (const host of ["localhost", "intranet", "a.localhost", "printer.local", "metadata.google.internal"]) {
          yield* refused(http.get(`http://${host}/`))
        }
      })
    )
  })
}

/** The pinning client over a resolver of the test's own; `dial` says where the socket for a checked address goes. */
const pinned = (resolver: TestResolver, dial?: (address: string) => string, tls?: { readonly ca: string }) =>
  makePinned(resolver, { tls, connectTimeout: 5_000 }, dial)

describe("PinnedHttpClient", () => {
  const guardedPinned = (
    globs: ReadonlyArray<string>,
    resolver: TestResolver,
    dial?: (address: string) => string,
    tls?: { readonly ca: string }
  ) =>
    Effect.map(pinned(resolver, dial, tls), (client) => {
      const gate = gateOf({ "net.fetch": globs })
      return { gate, client, http: GuardedHttpClient.make(client, gate, { resolver }) }
    })

  it.scopedLive("1.0 §14 resolves a name once and connects to the address that was checked", () =>
    Effect.gen(function* () {
      const { port, seen } = yield* server()
      // What is checked is public; after that the name leads to this machine.
      const resolver = resolverOf({ "rebind.test": [[publicAddress, "2606:2800:220:1::1"], ["127.0.0.1"]] })
      const dialled: Array<string> = []
      const { http } = yield* guardedPinned(["http://**"], resolver, (address) => {
        dialled.push(address)
        return "127.0.0.1"
      })
      expect(yield* text(http, `http://rebind.test:${port}/a`)).toBe("GET /a")
      expect(resolver.asked).toEqual(["rebind.test"])
      expect(dialled).toEqual([publicAddress, "2606:2800:220:1::1"])
      expect(seen[0]?.headers.host).toBe(`rebind.test:${port}`)
      // The second time it is refused, though a connection to it is open.
      yield* refused(http.get(`http://rebind.test:${port}/b`))
      expect(seen).toHaveLength(1)
    })
  )

  it.scopedLive("1.0 §14 a name that resolves inside after it was checked does not lead there", () =>
    Effect.gen(function* () {
      const { port, seen } = yield* server()
      const resolver = resolverOf({ "rebind.test": [[publicAddress], ["127.0.0.1"]] })
      // Where nothing answers: the checked address, as far as this test can reach it.
      const { http } = yield* guardedPinned(["http://**"], resolver, (address) =>
        address === publicAddress ? "127.0.0.2" : address
      )
      const closed = yield* Effect.scoped(Effect.map(server(), (other) => other.port))
      yield* Effect.flip(http.get(`http://rebind.test:${closed}/a`))
      yield* refused(http.get(`http://rebind.test:${port}/a`))
      expect(seen).toEqual([])
    })
  )

  it.scopedLive("1.0 §14 each hop of a redirect is resolved, checked and pinned anew", () =>
    Effect.gen(function* () {
      const { port, seen } = yield* server(redirecting)
      const resolver = resolverOf({ "a.test": [[publicAddress]], "b.test": [["8.8.8.8"]], "in.test": [["10.0.0.1"]] })
      const dialled: Array<string> = []
      const { http } = yield* guardedPinned(["http://**"], resolver, (address) => {
        dialled.push(address)
        return "127.0.0.1"
      })
      expect(yield* text(http, `http://a.test:${port}${to(`http://b.test:${port}/end`)}`)).toBe("GET /end")
      expect(dialled).toEqual([publicAddress, "8.8.8.8"])
      expect(resolver.asked).toEqual(["a.test", "b.test"])
      yield* refused(http.get(`http://a.test:${port}${to(`http://in.test:${port}/secret`)}`))
      yield* refused(http.get(`http://a.test:${port}${to(`http://127.0.0.1:${port}/secret`)}`))
      expect(seen.filter(({ line }) => line.includes(" /secret"))).toEqual([])
    })
  )

  it.scopedLive("§9.3 a named host may resolve inside, by the same resolver", () =>
    Effect.gen(function* () {
      const { port, seen } = yield* server()
      const resolver = resolverOf({ "intranet.corp": [["127.0.0.1"]] })
      const { http } = yield* guardedPinned(["http://**", `http://intranet.corp:${port}/api/**`], resolver)
      expect(yield* text(http, `http://intranet.corp:${port}/api/a`)).toBe("GET /api/a")
      expect(resolver.asked).toEqual(["intranet.corp"])
      yield* refused(http.get(`http://intranet.corp:${port}/secret`))
      expect(seen).toHaveLength(1)
    })
  )

  it.scopedLive(
    "1.0 §14 a connection that one lease's named host opened is not reused for another lease's wildcard",
    () =>
      Effect.gen(function* () {
        const { port, seen } = yield* server()
        const resolver = resolverOf({ "intranet.corp": [["127.0.0.1"], [publicAddress]] })
        const dialled: Array<string> = []
        const client = yield* pinned(resolver, (address) => {
          dialled.push(address)
          return address === publicAddress ? "127.0.0.2" : address
        })
        const of = (globs: ReadonlyArray<string>) =>
          GuardedHttpClient.make(client, gateOf({ "net.fetch": globs }), { resolver })
        expect(yield* text(of([`http://intranet.corp:${port}/**`]), `http://intranet.corp:${port}/a`)).toBe("GET /a")
        // Its check sees a public address: the kept connection must not carry the request inside.
        yield* Effect.flip(of(["http://**"]).get(`http://intranet.corp:${port}/secret`))
        expect(dialled).toEqual(["127.0.0.1", publicAddress])
        expect(seen.map(({ line }) => line)).toEqual(["GET /a"])
      })
  )

  it.scopedLive("1.0 §14 TLS verifies the name, not the address that was checked", () =>
    Effect.gen(function* () {
      const pem = (file: string) =>
        readFileSync(fileURLToPath(new URL(`../transport/fixtures/${file}`, import.meta.url)), "utf8")
      const port = yield* Effect.acquireRelease(
        Effect.async<{ readonly port: number; readonly close: () => void }>((resume) => {
          const https = createTlsServer(
            { cert: pem("localhost.cert.pem"), key: pem("localhost.key.pem") },
            (_request, response) => response.end("over TLS")
          )
          https.listen(0, "127.0.0.1", () =>
            resume(
              Effect.succeed({
                port: (https.address() as AddressInfo).port,
                close: () => {
                  https.closeAllConnections()
                  https.close()
                }
              })
            )
          )
        }),
        ({ close }) => Effect.sync(close)
      ).pipe(Effect.map(({ port }) => port))
      const resolver = resolverOf({ localhost: [["127.0.0.1"]], "other.test": [[publicAddress]] })
      const { http } = yield* guardedPinned(
        [`https://localhost:${port}/**`, "https://*.test:*/**"],
        resolver,
        () => "127.0.0.1",
        { ca: pem("localhost.cert.pem") }
      )
      expect(yield* text(http, `https://localhost:${port}/`)).toBe("over TLS")
      const error = yield* Effect.flip(http.get(`https://other.test:${port}/`))
      expect(error).toMatchObject({ _tag: "RequestError", cause: { code: "ERR_TLS_CERT_ALTNAME_INVALID" } })
    })
  )

  it.scopedLive(
    "1.0 §14 a client built on it is pinned too, and cannot be led to another host than the checked one",
    () =>
      Effect.gen(function* () {
        const { port, seen } = yield* server(redirecting)
        const resolver = resolverOf({ "a.test": [[publicAddress]], "b.test": [["127.0.0.1"]] })
        const client = yield* pinned(resolver, () => "127.0.0.1")
        const of = (built: HttpClient.HttpClient) =>
          GuardedHttpClient.make(built, gateOf({ "net.fetch": ["http://**"] }), { resolver })
        const tokened = of(HttpClient.mapRequest(client, HttpClientRequest.bearerToken("t")))
        expect(yield* text(tokened, `http://a.test:${port}/a`)).toBe("GET /a")
        expect(seen[0]?.headers.authorization).toBe("Bearer t")
        const following = of(HttpClient.followRedirects(client))
        const error = yield* Effect.flip(following.get(`http://a.test:${port}${to(`http://b.test:${port}/secret`)}`))
        expect(HttpClientError.isHttpClientError(error) && error._tag).toBe("RequestError")
        expect(seen.filter(({ line }) => line.includes(" /secret"))).toEqual([])
      })
  )

  it.scopedLive("without a guard it is an ordinary client, by Node's resolver", () =>
    Effect.gen(function* () {
      const { origin, port } = yield* server()
      const http = yield* HttpClient.HttpClient
      expect(yield* text(http, `${origin}/a`)).toBe("GET /a")
      expect(yield* text(http, `http://localhost:${port}/b`)).toBe("GET /b")
      const error = yield* Effect.flip(http.get("http://does-not-exist.invalid/"))
      expect(error).toMatchObject({ _tag: "RequestError", reason: "Transport" })
    }).pipe(Effect.provide(PinnedHttpClient.layer()))
  )

  it.scopedLive("many requests of one name at once each find the way, and a failing one leaves the others alone", () =>
    Effect.gen(function* () {
      const { port, seen } = yield* server()
      const resolver = resolverOf({ "a.test": [[publicAddress]] })
      const { http } = yield* guardedPinned(["http://**"], resolver, () => "127.0.0.1")
      const urls = Array.from({ length: 20 }, (_, i) => `http://a.test:${port}/${i}`)
      const closed = yield* Effect.scoped(Effect.map(server(), (other) => other.port))
      const [texts] = yield* Effect.all(
        [
          Effect.forEach(urls, (url) => text(http, url), { concurrency: "unbounded" }),
          Effect.exit(http.get(`http://a.test:${closed}/`))
        ],
        { concurrency: "unbounded" }
      )
      expect(texts).toEqual(Array.from({ length: 20 }, (_, i) => `GET /${i}`))
      expect(seen).toHaveLength(20)
    })
  )
})

describe("The resolver of names", () => {
  it.effect("§9.3 a resolver that does not come back costs its request only the time allowed", () =>
    Effect.gen(function* () {
      const client = HttpClient.make(() => Effect.dieMessage("it was sent"))
      const gate = gateOf({ "net.fetch": ["http://**"] })
      const http = GuardedHttpClient.make(client, gate, { resolver: { resolve: () => Effect.never } })
      const fiber = yield* Effect.fork(Effect.flip(http.get("http://slow.test/")))
      yield* TestClock.adjust("10 seconds")
      expect(yield* fiber).toMatchObject({ _tag: "RequestError", reason: "Transport" })
    })
  )

  it.effect("§9.5 a lease that expires while a host is resolved sends nothing", () =>
    Effect.gen(function* () {
      const client = HttpClient.make(() => Effect.dieMessage("it was sent"))
      const gate = gateOf({ "net.fetch": ["http://**"] })
      const resolve = () =>
        Effect.sync(() => {
          gate.expired = true
          return [publicAddress]
        })
      const error = yield* Effect.flip(
        GuardedHttpClient.make(client, gate, { resolver: { resolve } }).get("http://a.test/")
      )
      expect(deniedCause(error)?.code).toBe("LEASE_EXPIRED")
    })
  )

  it.scopedLive("§9.3 the agent's own resolver counts before the runtime's, and no handler gets it", () =>
    Effect.gen(function* () {
      const own = resolverOf({ "a.test": [["127.0.0.1"]] })
      const context = yield* Effect.map(Effect.context<HttpClient.HttpClient | Resolver>(), (services) =>
        guard(services, gateOf({ "net.fetch": ["http://**"] }), { http: { resolver: NodeResolver.resolver } })
      ).pipe(Effect.provide(Layer.succeed(Resolver, own)))
      expect(context.unsafeMap.has(Resolver.key)).toBe(false)
      const withResolver = Context.make(Resolver, own)
      expect(ambient(withResolver).unsafeMap.has(Resolver.key)).toBe(false)
      const open = guard(withResolver as Context.Context<never>, gateOf({}), { unguarded: [Resolver] })
      expect(open.unsafeMap.has(Resolver.key)).toBe(false)
      const http = context.unsafeMap.get(HttpClient.HttpClient.key) as HttpClient.HttpClient
      yield* refused(http.get("http://a.test/"))
      expect(own.asked).toEqual(["a.test"])
    }).pipe(Effect.provide(NodeHttpClient.layer))
  )

  it.live("§9.3 Node's resolver knows this machine, and says what it does not know", () =>
    Effect.gen(function* () {
      const { resolve } = yield* Resolver
      const found = yield* resolve("localhost")
      expect(found.some((address) => address === "127.0.0.1" || address === "::1")).toBe(true)
      const error = yield* Effect.flip(resolve("does-not-exist.invalid"))
      expect(error).toMatchObject({ _tag: "ResolveError", hostname: "does-not-exist.invalid" })
    }).pipe(Effect.provide(NodeResolver.layer))
  )

  it.effect("1.0 §14 a job's options of fetch do not choose a connection of their own", () =>
    Effect.gen(function* () {
      const seen: Array<object> = []
      const gate = gateOf({ "net.fetch": ["https://allowed.example/**"] })
      const http = GuardedHttpClient.make(yield* HttpClient.HttpClient, gate)
      const init = {
        cache: "no-store",
        dispatcher: {},
        proxy: "http://127.0.0.1:1",
        unix: "/run/x.sock"
      } as RequestInit
      yield* http.get("https://allowed.example/").pipe(
        Effect.provideService(FetchHttpClient.RequestInit, init),
        Effect.provideService(FetchHttpClient.Fetch, ((_url, options) => {
          seen.push(options ?? {})
          return globalThis.Promise.resolve(new Response("x"))
        }) as typeof fetch)
      )
      expect(seen).toHaveLength(1)
      expect(seen[0]).toMatchObject({ cache: "no-store" })
      for (const key of ["dispatcher", "proxy", "unix"]) expect(seen[0]).not.toHaveProperty(key)
    }).pipe(Effect.provide(FetchHttpClient.layer))
  )
})
