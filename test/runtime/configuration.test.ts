/**
 * Layers whose options come out of the configuration: every key that a docstring lists is read, a wrong value fails with an error that
 * names its key, and no error holds a secret.
 */
import { existsSync, readFileSync } from "node:fs"
import { createServer } from "node:http"
import { describe, expect, it } from "@effect/vitest"
import { ConfigError, ConfigProvider, Context, Duration, Effect, Either, Layer, Redacted } from "effect"
import * as jose from "jose"
import { Authenticator } from "../../src/auth/index.js"
import { Jwt } from "../../src/auth/jwt.js"
import { ArcpClient } from "../../src/client/index.js"
import { optionsOf } from "../../src/client/internal/configured.js"
import { defaults, Limits } from "../../src/runtime/kernel/Limits.js"
import { SqliteStore } from "../../src/store/sqlite.js"
import { Connector, MemoryTransport, Server } from "../../src/transport/index.js"
import { WebSocketClient, WebSocketServer } from "../../src/transport/node.js"
import { scratch } from "../support/scratch.js"
import { storeKey } from "../support/storeKeys.js"

type Values = Readonly<Record<string, string>>

const provider = (values: Values) => Layer.setConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(values))))

/** What a layer gives under a configuration, or how it fails. */
const built = <A, E>(layer: Layer.Layer<A, E>, values: Values) =>
  Effect.either(Layer.build(Layer.provide(layer, provider(values))))

const folder = scratch("arcp-configuration-")
const pem = "-----BEGIN PRIVATE KEY-----\nbm8ga2V5\n-----END PRIVATE KEY-----"
const secretKeys = [
  "ARCP_TOKEN",
  "ARCP_TOKENS",
  "ARCP_CLIENT_TLS_KEY",
  "ARCP_CLIENT_TLS_PASSPHRASE",
  "ARCP_SERVER_TLS_KEY",
  "ARCP_SERVER_TLS_PASSPHRASE",
  "ARCP_JWT_SECRET",
  "ARCP_SQLITE_ENCRYPTION_KEY"
]
const limitKey = (name: string) => `ARCP_LIMIT_${name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`

interface Part {
  /** The source whose docstring lists the keys. */
  readonly source: string
  readonly keys: ReadonlyArray<string>
  readonly layer: Layer.Layer<never, unknown>
  /** What has to be set. */
  readonly needed: Values
  /** Values that are not empty, and wrong. */
  readonly wrong: Values
}

const parts: Readonly<Record<string, Part>> = {
  ArcpClient: {
    source: "client/ArcpClient",
    keys: [
      "ARCP_TOKEN",
      "ARCP_CLIENT_CONNECT_TIMEOUT",
      "ARCP_CLIENT_HANDSHAKE_TIMEOUT",
      "ARCP_CLIENT_CLOSE_TIMEOUT",
      "ARCP_CLIENT_REQUEST_TIMEOUT",
      "ARCP_CLIENT_BACKOFF",
      "ARCP_CLIENT_MAX_BACKOFF",
      "ARCP_CLIENT_MAX_ATTEMPTS"
    ],
    layer: Layer.discard(Layer.provide(ArcpClient.layerConfig({ closeTimeout: 0 }), MemoryTransport.layer)),
    needed: {},
    wrong: { ARCP_CLIENT_BACKOFF: "-5 seconds", ARCP_CLIENT_MAX_ATTEMPTS: "1.5", ARCP_CLIENT_CLOSE_TIMEOUT: "soon" }
  },
  WebSocketClient: {
    source: "transport/WebSocketClient",
    keys: [
      "ARCP_URL",
      "ARCP_CLIENT_CONNECT_TIMEOUT",
      "ARCP_CLIENT_MAX_FRAME_BYTES",
      "ARCP_CLIENT_TLS_CA",
      "ARCP_CLIENT_TLS_CERT",
      "ARCP_CLIENT_TLS_KEY",
      "ARCP_CLIENT_TLS_PASSPHRASE"
    ],
    layer: Layer.discard(WebSocketClient.layerConfig()),
    needed: { ARCP_URL: "ws://127.0.0.1:1/arcp" },
    wrong: { ARCP_URL: "http://user:hunter2@example.com/", ARCP_CLIENT_MAX_FRAME_BYTES: "0" }
  },
  WebSocketServer: {
    source: "transport/WebSocketServer",
    keys: [
      "ARCP_SERVER_PORT",
      "ARCP_SERVER_HOST",
      "ARCP_SERVER_PATH",
      "ARCP_SERVER_MAX_FRAME_BYTES",
      "ARCP_SERVER_MAX_CONNECTIONS",
      "ARCP_SERVER_ALLOWED_ORIGINS",
      "ARCP_SERVER_ALLOWED_HOSTS",
      "ARCP_SERVER_TRUSTED_PROXIES",
      "ARCP_SERVER_HANDSHAKE_TIMEOUT",
      "ARCP_SERVER_CLOSE_TIMEOUT",
      "ARCP_SERVER_TLS_CERT",
      "ARCP_SERVER_TLS_KEY",
      "ARCP_SERVER_TLS_PASSPHRASE"
    ],
    layer: Layer.discard(WebSocketServer.layerConfig()),
    needed: { ARCP_SERVER_PORT: "0" },
    wrong: {
      ARCP_SERVER_PORT: "65536",
      ARCP_SERVER_PATH: "arcp",
      ARCP_SERVER_ALLOWED_ORIGINS: "https://a.example,,https://b.example",
      ARCP_SERVER_ALLOWED_HOSTS: "https://a.example",
      ARCP_SERVER_HANDSHAKE_TIMEOUT: "NaN"
    }
  },
  bearer: {
    source: "auth/Authenticator",
    keys: ["ARCP_TOKENS"],
    layer: Layer.discard(Authenticator.layerBearerConfig()),
    needed: { ARCP_TOKENS: "one=alice" },
    wrong: { ARCP_TOKENS: "one=alice,hunter2" }
  },
  Jwt: {
    source: "auth/JwtAuthenticator",
    keys: [
      "ARCP_JWT_SECRET",
      "ARCP_JWT_PUBLIC_KEY",
      "ARCP_JWT_JWKS_FILE",
      "ARCP_JWT_JWKS_URL",
      "ARCP_JWT_ALGORITHMS",
      "ARCP_JWT_ISSUER",
      "ARCP_JWT_AUDIENCE",
      "ARCP_JWT_REQUIRED",
      "ARCP_JWT_CLOCK_TOLERANCE"
    ],
    layer: Layer.discard(Jwt.layerConfig()),
    needed: { ARCP_JWT_SECRET: "s".repeat(64), ARCP_JWT_ALGORITHMS: "HS256" },
    wrong: { ARCP_JWT_ALGORITHMS: "HS256,none", ARCP_JWT_JWKS_URL: "file:///etc/passwd" }
  },
  SqliteStore: {
    source: "store/SqliteStore",
    keys: ["ARCP_SQLITE_FILENAME", "ARCP_SQLITE_SYNCHRONOUS", "ARCP_SQLITE_ENCRYPTION_KEY"],
    layer: Layer.discard(SqliteStore.layerConfig()),
    needed: { ARCP_SQLITE_FILENAME: ":memory:" },
    wrong: { ARCP_SQLITE_SYNCHRONOUS: "OFF" }
  },
  Limits: {
    source: "runtime/kernel/Limits",
    keys: Object.keys(defaults).map(limitKey),
    layer: Limits.layerConfig(),
    needed: {},
    wrong: {
      ...Object.fromEntries(Object.keys(defaults).map((name) => [limitKey(name), "-1"])),
      ARCP_LIMIT_MAX_FRAME_BYTES: "4095",
      ARCP_LIMIT_RUNNING_JOBS: "0"
    }
  }
}

/** How a layer fails, as it is printed. */
const failure = (part: Part, values: Values) =>
  Effect.map(built(part.layer, { ...part.needed, ...values }), (result) => {
    if (Either.isRight(result)) return "it does not fail"
    return ConfigError.isConfigError(result.left) ? String(result.left) : `not a ConfigError: ${String(result.left)}`
  })

describe("keys of the configuration", () => {
  for (const [name, part] of Object.entries(parts)) {
    it.scoped(`${name}: what has to be set is enough, and each docstring lists the keys`, () =>
      Effect.gen(function* () {
        expect(Either.isRight(yield* built(part.layer, part.needed))).toBe(true)
        const text = readFileSync(new URL(`../../src/${part.source}.ts`, import.meta.url), "utf8")
        if (name === "Limits") expect(text).toContain("`ARCP_LIMIT_HANDSHAKE_TIMEOUT`")
        else {
          const listed = [...text.matchAll(/^ +\*.*/gm)].flatMap(([line]) => line.match(/ARCP_[A-Z_]+/g) ?? [])
          expect([...new Set(listed)].sort()).toEqual([...part.keys].sort())
        }
      })
    )

    it.scoped(`${name}: each key is read: an empty or a wrong value fails and names it`, () =>
      Effect.gen(function* () {
        for (const key of part.keys) expect(yield* failure(part, { [key]: "" })).toContain(key)
        for (const [key, value] of Object.entries(part.wrong)) {
          const printed = yield* failure(part, { [key]: value })
          expect(printed, `${key}=${value}`).toContain(key)
          expect(printed).toMatch(/must be |is not of the form /)
          expect(printed).not.toContain("hunter2")
        }
      })
    )

    it.scoped(`${name}: what has to be set and is not is named`, () =>
      Effect.gen(function* () {
        for (const key of Object.keys(part.needed).filter((key) => key !== "ARCP_SERVER_PORT")) {
          const rest = Object.fromEntries(Object.entries(part.needed).filter(([name]) => name !== key))
          const result = yield* built(part.layer, rest)
          expect(Either.isLeft(result) && String(result.left)).toContain(key)
        }
      })
    )
  }

  it.scoped("no error holds a secret", () =>
    Effect.gen(function* () {
      const secret = "hunter2"
      for (const [name, part] of Object.entries(parts)) {
        const secrets = part.keys.filter((key) => secretKeys.includes(key))
        for (const key of secrets) {
          const wrong = part.keys.find((other) => other !== key) ?? key
          for (const values of [
            { [key]: secret, [wrong]: "" },
            { [key]: `one=alice,${secret}`, [wrong]: "" }
          ]) {
            const printed = yield* failure(part, name === "bearer" ? { [key]: `one=alice,${secret}` } : values)
            expect(printed).not.toBe("it does not fail")
            expect(printed).not.toContain(secret)
          }
        }
        // A secret under a wrong key is not repeated either.
        for (const key of Object.keys(part.wrong)) {
          expect(yield* failure(part, { [key]: `${secret} ${secret}` })).not.toContain(secret)
        }
      }
    })
  )
})

describe("the guide", () => {
  const guide = readFileSync(new URL("../../docs/configuration.md", import.meta.url), "utf8")

  it("lists every key", () => {
    for (const [name, part] of Object.entries(parts)) {
      if (name === "Limits") continue
      for (const key of part.keys) {
        expect(guide, key).toContain(secretKeys.includes(key) ? `\`${key}\` (secret)` : `\`${key}\``)
      }
    }
  })

  it.scoped("tells how two clients have keys of their own", () =>
    Effect.gen(function* () {
      const env = ConfigProvider.fromMap(new Map([["EAST_ARCP_URL", "ws://127.0.0.1:1/"]]), { pathDelim: "_" })
      const nested = Layer.setConfigProvider(ConfigProvider.nested(env, "EAST"))
      const context = yield* Layer.build(Layer.provide(WebSocketClient.layerConfig(), nested))
      expect(Context.get(context, Connector).address).toBe("ws://127.0.0.1:1/")
    })
  )
})

describe("what is configured counts", () => {
  it.scoped("ArcpClient: its token and its times, before what the program says", () =>
    Effect.gen(function* () {
      const options = yield* Effect.provide(
        optionsOf({ ackEvery: 5, backoff: 7, auth: { scheme: "jwt", token: Redacted.make("other") } }),
        provider({
          ARCP_TOKEN: "one",
          ARCP_CLIENT_CONNECT_TIMEOUT: "1 second",
          ARCP_CLIENT_HANDSHAKE_TIMEOUT: "2 seconds",
          ARCP_CLIENT_CLOSE_TIMEOUT: "3000",
          ARCP_CLIENT_REQUEST_TIMEOUT: "Infinity",
          ARCP_CLIENT_MAX_BACKOFF: "1 minute",
          ARCP_CLIENT_MAX_ATTEMPTS: "3"
        })
      )
      const { auth, ...rest } = options
      expect(auth?.scheme).toBe("jwt")
      expect(Redacted.isRedacted(auth?.token) && Redacted.value(auth.token)).toBe("one")
      expect(rest).toEqual({
        ackEvery: 5,
        backoff: 7,
        connectTimeout: Duration.seconds(1),
        handshakeTimeout: Duration.seconds(2),
        closeTimeout: Duration.seconds(3),
        requestTimeout: Duration.infinity,
        maxBackoff: Duration.minutes(1),
        maxAttempts: 3
      })
    })
  )

  it.scoped("WebSocketServer and WebSocketClient: where, and how large frames may be", () =>
    Effect.gen(function* () {
      const server = yield* built(WebSocketServer.layerConfig({ path: "/unused" }), {
        ARCP_SERVER_PORT: "0",
        ARCP_SERVER_PATH: "/agents",
        ARCP_SERVER_ALLOWED_HOSTS: "*"
      })
      const { address } = Context.get(Either.getOrThrow(server), Server)
      expect(address).toMatch(/^ws:\/\/127\.0\.0\.1:\d+\/agents$/)
      const client = yield* built(WebSocketClient.layerConfig({ url: "ws://127.0.0.1:1/" }), { ARCP_URL: address })
      const connection = yield* Context.get(Either.getOrThrow(client), Connector).connect
      expect(connection.secure).toBe(false)
    })
  )

  it.scoped("WebSocketServer: TLS needs a certificate and its key, and fails where they are none", () =>
    Effect.gen(function* () {
      const port = { ARCP_SERVER_PORT: "0" }
      const half = yield* built(WebSocketServer.layerConfig(), { ...port, ARCP_SERVER_TLS_KEY: pem })
      expect(Either.isLeft(half) && String(half.left)).toContain("ARCP_SERVER_TLS_CERT")
      const fixture = (name: string) =>
        readFileSync(new URL(`../transport/fixtures/localhost.${name}.pem`, import.meta.url), "utf8")
      const whole = yield* built(WebSocketServer.layerConfig(), {
        ...port,
        ARCP_SERVER_TLS_CERT: fixture("cert"),
        ARCP_SERVER_TLS_KEY: fixture("key")
      })
      expect(Context.get(Either.getOrThrow(whole), Server).address).toMatch(/^wss:/)
    })
  )

  it.scoped("bearer: the table, also under a key of your own", () =>
    Effect.gen(function* () {
      const layer = Authenticator.layerBearerConfig("MY_TOKENS")
      const context = Either.getOrThrow(yield* built(layer, { MY_TOKENS: "# ours\nb25l==alice\ntwo=bob" }))
      const ask = (token: string) =>
        Context.get(context, Authenticator).authenticate({
          scheme: "bearer",
          token: Redacted.make(token),
          peer: { transport: "memory", secure: true }
        })
      expect([(yield* ask("b25l=")).id, (yield* ask("two")).id]).toEqual(["alice", "bob"])
      expect((yield* Effect.flip(ask("three")))._tag).toBe("Unauthenticated")
      const none = yield* built(layer, { MY_TOKENS: "# none" })
      expect(Either.isLeft(none) && String(none.left)).toContain("MY_TOKENS")
    })
  )

  it.scoped("Jwt: keys, algorithms, issuer and audience", () =>
    Effect.gen(function* () {
      const secret = "s".repeat(64)
      const values = {
        ARCP_JWT_SECRET: secret,
        ARCP_JWT_ALGORITHMS: "HS256, HS512",
        ARCP_JWT_ISSUER: "https://two.example",
        ARCP_JWT_AUDIENCE: "arcp",
        ARCP_JWT_REQUIRED: "sub"
      }
      const context = Either.getOrThrow(yield* built(Jwt.layerConfig(), values))
      const ask = (claims: jose.JWTPayload, alg = "HS512") =>
        Effect.flatMap(
          Effect.promise(() =>
            new jose.SignJWT({ sub: "alice", ...claims })
              .setProtectedHeader({ alg })
              .sign(new TextEncoder().encode(secret))
          ),
          (token) =>
            Context.get(context, Authenticator).authenticate({
              scheme: "bearer",
              token: Redacted.make(token),
              peer: { transport: "memory", secure: true }
            })
        )
      const good = { iss: "https://two.example", aud: "arcp" }
      expect((yield* ask(good)).id).toBe("alice")
      for (const wrong of [ask({ ...good, aud: "other" }), ask({ ...good, iss: "https://x" }), ask(good, "HS384")]) {
        expect((yield* Effect.flip(wrong))._tag).toBe("Unauthenticated")
      }
      const two = yield* built(Jwt.layerConfig(), { ...values, ARCP_JWT_PUBLIC_KEY: "pem" })
      expect(Either.isLeft(two) && String(two.left)).toContain("name one source of keys")
    })
  )

  it.scoped("Jwt: several issuers, each with its own key set, in their order", () =>
    Effect.gen(function* () {
      const key = (kid: string) =>
        Effect.promise(async () => {
          const { privateKey, publicKey } = await jose.generateKeyPair("ES256", { extractable: true })
          return { privateKey, jwk: { ...(await jose.exportJWK(publicKey)), kid, alg: "ES256" } }
        })
      const keys = { one: yield* key("k"), two: yield* key("k") }
      const server = createServer(({ url = "" }, response) => {
        response.setHeader("content-type", "application/json")
        response.end(JSON.stringify({ keys: [keys[url.includes("one") ? "one" : "two"].jwk] }))
      })
      yield* Effect.acquireRelease(
        Effect.async<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void))),
        () => Effect.sync(() => server.close())
      )
      const base = `http://127.0.0.1:${(server.address() as { port: number }).port}`
      const values = {
        ARCP_JWT_JWKS_URL: `${base}/one?a,b , ${base}/two`,
        ARCP_JWT_ALGORITHMS: "ES256",
        ARCP_JWT_ISSUER: "https://one.example,https://two.example",
        ARCP_JWT_REQUIRED: "sub"
      }
      const program = { keys: { publicKey: "another" }, issuer: "https://program.example" }
      const context = Either.getOrThrow(yield* built(Jwt.layerConfig(program), values))
      const ask = (iss: string, { privateKey }: { readonly privateKey: jose.CryptoKey }) =>
        Effect.flatMap(
          Effect.promise(() =>
            new jose.SignJWT({ sub: "alice", iss }).setProtectedHeader({ alg: "ES256", kid: "k" }).sign(privateKey)
          ),
          (token) =>
            Context.get(context, Authenticator).authenticate({
              scheme: "bearer",
              token: Redacted.make(token),
              peer: { transport: "memory", secure: true }
            })
        )
      for (const [name, other] of [
        ["one", "two"],
        ["two", "one"]
      ] as const) {
        const iss = `https://${name}.example`
        expect((yield* ask(iss, keys[name])).id).toBe(`${iss}|alice`)
        expect((yield* Effect.flip(ask(iss, keys[other])))._tag).toBe("Unauthenticated")
      }
      const failed = (values: Values, options: Partial<Jwt.JwtOptions> = {}) =>
        Effect.map(built(Jwt.layerConfig(options), values), (result) =>
          Either.isLeft(result) && ConfigError.isConfigError(result.left) ? String(result.left) : "no ConfigError"
        )
      for (const wrong of [
        { ...values, ARCP_JWT_ISSUER: "https://one.example" },
        { ...values, ARCP_JWT_ISSUER: "a,b,c" },
        { ...values, ARCP_JWT_JWKS_URL: `${base}/one` },
        { ARCP_JWT_SECRET: "s".repeat(64), ARCP_JWT_ALGORITHMS: "HS256", ARCP_JWT_ISSUER: "a,b" },
        { ARCP_JWT_JWKS_URL: values.ARCP_JWT_JWKS_URL, ARCP_JWT_ALGORITHMS: "ES256" }
      ]) {
        expect(yield* failed(wrong)).toMatch(/ARCP_JWT_JWKS_URL.*as many URLs as ARCP_JWT_ISSUER/s)
      }
      const { ARCP_JWT_ISSUER } = values
      expect(yield* failed({ ARCP_JWT_ISSUER }, { ...program, algorithms: ["ES256"] })).toContain("ARCP_JWT_JWKS_URL")
      // The program's own issuers, with the rest from the configuration.
      const own = { issuers: [{ issuer: "us", keys: { secret: Redacted.make("s".repeat(32)) } }] }
      expect(Either.isRight(yield* built(Jwt.layerConfig(own), { ARCP_JWT_ALGORITHMS: "HS256" }))).toBe(true)
      expect(yield* failed({ ARCP_JWT_ISSUER: "them", ARCP_JWT_ALGORITHMS: "HS256" }, own)).toContain("ARCP_JWT_SECRET")
    })
  )

  it.scoped("SqliteStore: the file, and the key without which it does not open", () =>
    Effect.gen(function* () {
      const values = {
        ARCP_SQLITE_FILENAME: `${folder}/arcp.db`,
        ARCP_SQLITE_ENCRYPTION_KEY: Redacted.value(storeKey())
      }
      const open = (values: Values) => Effect.scoped(built(SqliteStore.layerConfig(), values))
      expect(Either.isRight(yield* open(values))).toBe(true)
      expect(existsSync(values.ARCP_SQLITE_FILENAME)).toBe(true)
      const other = yield* open({ ...values, ARCP_SQLITE_ENCRYPTION_KEY: Redacted.value(storeKey(1)) })
      expect(Either.isLeft(other) && other.left).toMatchObject({ _tag: "StoreError" })
    })
  )

  it.scoped("Limits: a number with more digits than there are numbers is wrong, and not Infinity", () =>
    Effect.gen(function* () {
      for (const name of ["ARCP_LIMIT_SESSIONS", "ARCP_LIMIT_CANCEL_GRACE", "ARCP_LIMIT_MAX_FRAME_BYTES"]) {
        const read = (value: string) =>
          Effect.either(Effect.provide(Limits, Layer.provide(Limits.layerConfig(), provider({ [name]: value }))))
        expect(Either.isRight(yield* read("5000"))).toBe(true)
        const wrong = yield* read("9".repeat(400))
        expect(Either.isLeft(wrong) && String(wrong.left)).toContain(name)
      }
    })
  )

  it.scoped("Limits: every bound", () =>
    Effect.gen(function* () {
      const wanted = Object.keys(defaults).map((name, i) => [name, 5_000 + i] as const)
      const values = Object.fromEntries(wanted.map(([name, value]) => [limitKey(name), String(value)]))
      const read = (values: Values) =>
        Effect.provide(Limits, Layer.provide(Limits.layerConfig({ sessions: 7, replies: 9 }), provider(values)))
      expect(yield* read(values)).toEqual(Object.fromEntries(wanted))
      expect(yield* read({ ARCP_LIMIT_CANCEL_GRACE: "1 minute", ARCP_LIMIT_REPLIES: "Infinity" })).toEqual({
        ...defaults,
        sessions: 7,
        cancelGrace: 60_000,
        replies: Number.POSITIVE_INFINITY
      })
    })
  )
})
