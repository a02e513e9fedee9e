import { describe, expect, it } from "@effect/vitest"
import * as Either from "effect/Either"
import * as Expiry from "../../src/authority/Expiry.js"

const at = (text: string) => Date.parse(text)

describe("Expiry", () => {
  it.each([
    ["2026-05-13T23:42:00Z", at("2026-05-13T23:42:00Z")],
    ["2026-05-13T23:42:00.5Z", at("2026-05-13T23:42:00.500Z")],
    ["2026-05-13T23:42:00.123456Z", at("2026-05-13T23:42:00.123Z")],
    ["2026-05-13T23:42:00.999999999Z", at("2026-05-13T23:42:00.999Z")],
    ["2028-02-29T00:00:00Z", at("2028-02-29T00:00:00Z")],
    // further away than a 32-bit timer
    ["9999-12-31T23:59:59Z", at("9999-12-31T23:59:59Z")]
  ])("§9.5 %s is read", (text, millis) => {
    expect(Expiry.parse(text)).toEqual(Either.right(millis))
  })

  it.each([
    "",
    "tomorrow",
    "1747179720",
    "2026-05-13",
    "2026-05-13T23:42Z",
    "2026-05-13T23:42:00",
    "2026-05-13T23:42:00z",
    "2026-05-13t23:42:00Z",
    "2026-05-13 23:42:00Z",
    "2026-05-13T23:42:00+00:00",
    "2026-05-13T23:42:00-00:00",
    "2026-05-13T23:42:00+02:00",
    "2026-05-13T23:42:00 Z",
    "2026-05-13T23:42:00.Z",
    "2026-05-13T23:42:00.1234567890Z",
    "2026-05-13T24:00:00Z",
    "2026-05-13T25:00:00Z",
    "2026-05-13T23:60:00Z",
    "2026-05-13T23:59:60Z",
    "2026-02-30T00:00:00Z",
    "2026-02-29T00:00:00Z",
    "2026-04-31T00:00:00Z",
    "2026-13-01T00:00:00Z",
    "2026-00-01T00:00:00Z",
    "2026-01-00T00:00:00Z",
    "+002026-05-13T23:42:00Z",
    "2026-05-13T23:42:00Z\n",
    "２026-05-13T23:42:00Z"
  ])("§9.5 %j is refused", (text) => {
    const result = Expiry.parse(text)
    expect(Either.isLeft(result)).toBe(true)
    if (Either.isLeft(result)) {
      expect(result.left.code).toBe("INVALID_REQUEST")
      expect(result.left.message).toContain("lease_constraints.expires_at")
    }
  })

  it("§9.5 an expiry lies in the future", () => {
    const now = at("2026-05-13T23:42:00Z")
    expect(Either.isLeft(Expiry.parseFuture("2026-05-13T23:41:59Z", now))).toBe(true)
    expect(Either.isLeft(Expiry.parseFuture("2026-05-13T23:42:00Z", now))).toBe(true)
    expect(Expiry.parseFuture("2026-05-13T23:42:00.001Z", now)).toEqual(Either.right(now + 1))
  })

  it("§9.4 the earlier of two counts, and no expiry is never", () => {
    expect(Expiry.earlier(1, 2)).toBe(1)
    expect(Expiry.earlier(2, undefined)).toBe(2)
    expect(Expiry.earlier(undefined, 2)).toBe(2)
    expect(Expiry.earlier(undefined, undefined)).toBeUndefined()
    expect(Expiry.isLater(2, 1)).toBe(true)
    expect(Expiry.isLater(1, 1)).toBe(false)
    expect(Expiry.isLater(undefined, 1)).toBe(true)
    expect(Expiry.isLater(1, undefined)).toBe(false)
  })

  it("§9.5 a lease is over at its expiry", () => {
    expect(Expiry.isOver(10, 9)).toBe(false)
    expect(Expiry.isOver(10, 10)).toBe(true)
    expect(Expiry.isOver(undefined, Number.MAX_SAFE_INTEGER)).toBe(false)
  })
})
