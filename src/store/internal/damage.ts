/**
 * Rows that are not what was written: a disk, another program or a person changed them.
 *
 * They are refused as `StoreError`s that name the row, before anything is built on them; what a row says is not repeated.
 */
import * as Effect from "effect/Effect"
import { jobStatuses } from "../../protocol/Session.js"
import type { StoreError } from "../Store.js"
import { fail } from "./sql.js"

type Json = { readonly [key: string]: unknown }

/** What is wrong with the row. */
export const damaged = (about: string): StoreError =>
  fail("read", undefined, `${about} is damaged: restore the database from a backup, or delete the row`)

const isObject = (u: unknown): u is Json => typeof u === "object" && u !== null && !Array.isArray(u)
const isText = (u: unknown): u is string => typeof u === "string"
const isMaybeText = (u: unknown): boolean => u === undefined || typeof u === "string"

const parsed = (text: unknown): unknown => {
  try {
    return JSON.parse(String(text))
  } catch {
    return undefined
  }
}

const holdsObject = (text: unknown): boolean => isText(text) && isObject(parsed(text))
const holdsMaybeObject = (text: unknown): boolean => text === undefined || holdsObject(text)

const isSession = (u: unknown): boolean =>
  isObject(u) &&
  isObject(u.principal) &&
  isText(u.principal.id) &&
  typeof u.principal.anonymous === "boolean" &&
  isObject(u.principal.claims) &&
  isObject(u.client) &&
  isMaybeText(u.client.name) &&
  isMaybeText(u.client.version) &&
  Array.isArray(u.features) &&
  u.features.every(isText)

const isJob = (u: unknown): boolean =>
  isObject(u) &&
  isText(u.input) &&
  holdsObject(u.lease) &&
  holdsMaybeObject(u.leaseConstraints) &&
  holdsMaybeObject(u.traceContext) &&
  holdsObject(u.accepted) &&
  isText(u.traceId) &&
  [u.idempotencyKey, u.parentJobId, u.delegateId].every(isMaybeText) &&
  (u.maxRuntimeSec === undefined || Number.isSafeInteger(u.maxRuntimeSec))

const decimal = /^-?[0-9]{1,400}(\.[0-9]{1,400})?$/

/** Whether counters are such (§9.6): currency to decimal. */
const isBudget = (text: unknown): boolean => {
  if (text === null || text === undefined) return true
  const budget = parsed(text)
  return isObject(budget) && Object.values(budget).every((amount) => isText(amount) && decimal.test(amount))
}

const isWhole = (u: unknown): boolean => Number.isSafeInteger(typeof u === "bigint" ? Number(u) : u)

const checked = <A>(
  about: string,
  row: Json,
  numbers: ReadonlyArray<string>,
  data: string,
  fits: (u: unknown) => boolean
): Effect.Effect<A, StoreError> => {
  const value = parsed(data)
  return fits(value) && numbers.every((name) => isWhole(row[name]))
    ? Effect.succeed(value as A)
    : Effect.fail(damaged(about))
}

/** What `data` of a session's row holds. */
export const sessionData = <A>(about: string, row: Json, data: string): Effect.Effect<A, StoreError> =>
  checked(about, row, ["created_at", "last_seen_at", "last_seq", "acked_seq", "floor_seq"], data, isSession)

/** What `data` of a job's row holds; the row is the job's joined with its state's. */
export const jobData = <A>(about: string, row: Json, data: string): Effect.Effect<A, StoreError> =>
  checked(
    about,
    row,
    ["created_at", "last_job_seq", "last_owner_seq", "attempt"],
    data,
    (u) =>
      isJob(u) &&
      (jobStatuses as ReadonlyArray<unknown>).includes(row.status) &&
      [row.started_at, row.ended_at].every((time) => time === null || time === undefined || isWhole(time)) &&
      isBudget(row.budget)
  )

/** Whether a job's input is JSON, which matters where the job is started again. */
export const isInput = (text: string): boolean => parsed(text) !== undefined

/** The payloads of a segment. Their heads and ends are looked at; to parse each would cost every replay. */
export const payloads = (
  about: string,
  data: string,
  count: number
): Effect.Effect<ReadonlyArray<string>, StoreError> => {
  const texts = data.split("\n")
  return texts.length === count && texts.every((text) => text.startsWith("{") && text.endsWith("}"))
    ? Effect.succeed(texts)
    : Effect.fail(damaged(about))
}
