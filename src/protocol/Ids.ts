/**
 * Identifiers and secrets: ULIDs for messages, sessions, jobs and the rest, and resume tokens.
 *
 * A service, so that a seeded layer makes every test deterministic. ULIDs of one service are strictly increasing, so
 * that job ids sort in the order of their creation (the cursor of `session.list_jobs` depends on it).
 */
import * as Brand from "effect/Brand"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { toHex } from "./Bytes.js"

/**
 * The id of a job (ARCP 1.1 §7.1). Opaque: a runtime made it, and its form says nothing.
 *
 * @since 0.1.0
 * @category models
 */
export type JobId = Brand.Branded<string, "JobId">

/**
 * Brands a text as the id of a job, where it enters the program.
 *
 * @since 0.1.0
 * @category constructors
 */
export const JobId = Brand.nominal<JobId>()

/**
 * The id of a session (ARCP 1.1 §6.2). Opaque, and no secret: it resumes nothing without its token.
 *
 * @since 0.1.0
 * @category models
 */
export type SessionId = Brand.Branded<string, "SessionId">

/**
 * Brands a text as the id of a session, where it enters the program.
 *
 * @since 0.1.0
 * @category constructors
 */
export const SessionId = Brand.nominal<SessionId>()

/**
 * The id of a principal (ARCP 1.1 §6.1): the one that an authenticator found for a credential. Jobs belong to it.
 *
 * @since 0.1.0
 * @category models
 */
export type PrincipalId = Brand.Branded<string, "PrincipalId">

/**
 * Brands a text as the id of a principal, where an authenticator makes it.
 *
 * @since 0.1.0
 * @category constructors
 */
export const PrincipalId = Brand.nominal<PrincipalId>()

const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
const two40 = 2 ** 40

/** The two digits of each number of ten bits: an id is made for every frame. */
const pairs: ReadonlyArray<string> = Array.from({ length: 1024 }, (_, i) => alphabet[i >> 5]! + alphabet[i & 31]!)

const encode40 = (value: number): string => {
  const high = Math.floor(value / 1048576)
  const low = value % 1048576
  return pairs[high >> 10]! + pairs[high & 1023]! + pairs[low >> 10]! + pairs[low & 1023]!
}

const encodeTime = (millis: number): string => {
  let out = ""
  let rest = millis
  for (let i = 0; i < 10; i++) {
    out = alphabet[rest % 32] + out
    rest = Math.floor(rest / 32)
  }
  return out
}

/**
 * Fills an array with random bytes.
 *
 * @since 0.1.0
 * @category models
 */
export type RandomBytes = (length: number) => Uint8Array

/** A generator of strictly increasing ULIDs over a source of randomness. */
const makeUlid = (random: RandomBytes) => {
  let lastTime = -1
  let high = 0
  let low = 0
  let prefix = ""
  let pool = new Uint8Array(0)
  let at = 0
  const next40 = () => {
    if (at + 5 > pool.length) {
      pool = random(320) as Uint8Array<ArrayBuffer>
      at = 0
    }
    let value = 0
    for (let i = 0; i < 5; i++) value = value * 256 + pool[at++]!
    return value
  }
  return (millis: number): string => {
    if (millis > lastTime) {
      lastTime = millis
      high = next40()
      low = next40()
      prefix = encodeTime(lastTime) + encode40(high)
    } else if (++low === two40) {
      low = 0
      high = high + 1
      if (high === two40) {
        high = 0
        lastTime = lastTime + 1
      }
      prefix = encodeTime(lastTime) + encode40(high)
    }
    return prefix + encode40(low)
  }
}

const base64url = (bytes: Uint8Array): string =>
  btoa(String.fromCharCode(...bytes))
    .replace(/\+/g, "-")
    .replace(/\//g, "_")
    .replace(/=+$/, "")

/**
 * What an {@link Ids} service offers.
 *
 * @since 0.1.0
 * @category services
 */
export interface IdsService {
  /** A ULID of the current time, greater than every one before it. */
  readonly ulid: Effect.Effect<string>
  /** As {@link IdsService.ulid}, for hot paths that know the time in milliseconds. */
  readonly unsafeUlid: (nowMillis: number) => string
  /** A secret of 256 random bits, in base64url. */
  readonly secret: Effect.Effect<string>
  /** As {@link IdsService.secret}, synchronously. */
  readonly unsafeSecret: () => string
  /** A W3C trace id: 32 lowercase hex digits, never all zero (ARCP 1.1 §11). */
  readonly unsafeTraceId: () => string
}

const make = (random: RandomBytes): IdsService => {
  const unsafeUlid = makeUlid(random)
  const unsafeSecret = () => base64url(random(32))
  return {
    unsafeUlid,
    ulid: Effect.map(Clock.currentTimeMillis, unsafeUlid),
    unsafeSecret,
    secret: Effect.sync(unsafeSecret),
    unsafeTraceId: () => {
      const id = toHex(random(16))
      return /^0+$/.test(id) ? `${id.slice(1)}1` : id
    }
  }
}

/** Random bytes in stock: to ask the system for a few costs as much as to ask for many. Each is given out once. */
const stock = new Uint8Array(4096)
let given = stock.length

const cryptoRandom: RandomBytes = (length) => {
  if (length > stock.length) return globalThis.crypto.getRandomValues(new Uint8Array(length))
  if (given + length > stock.length) {
    globalThis.crypto.getRandomValues(stock)
    given = 0
  }
  const bytes = stock.slice(given, given + length)
  // What becomes part of a secret does not stay here.
  stock.fill(0, given, given + length)
  given += length
  return bytes
}

/** mulberry32: small, seeded, good enough for tests; never used outside {@link Ids.layerSeeded}. */
const seededRandom = (seed: number): RandomBytes => {
  let state = seed >>> 0
  return (length) => {
    const out = new Uint8Array(length)
    for (let i = 0; i < length; i++) {
      state = (state + 0x6d2b79f5) >>> 0
      let t = state
      t = Math.imul(t ^ (t >>> 15), t | 1)
      t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
      out[i] = (t ^ (t >>> 14)) & 255
    }
    return out
  }
}

/**
 * Makes ids and secrets.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Ids } from "effect-arcp/protocol"
 *
 * const id = Effect.flatMap(Ids, (ids) => ids.ulid)
 * ```
 *
 * @since 0.1.0
 * @category services
 */
export class Ids extends Context.Tag("effect-arcp/protocol/Ids")<Ids, IdsService>() {
  /** From the platform's cryptographic source of randomness. */
  static readonly layer: Layer.Layer<Ids> = Layer.sync(Ids, () => make(cryptoRandom))
  /** Deterministic, for tests: the same seed gives the same ids. Not for production: its secrets can be guessed. */
  static readonly layerSeeded = (seed: number): Layer.Layer<Ids> => Layer.sync(Ids, () => make(seededRandom(seed)))
}
