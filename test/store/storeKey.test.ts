/** 1.0 §14 What can be the key of an encrypted store: 32 random bytes, in any spelling. */
import { Buffer } from "node:buffer"
import { createHash } from "node:crypto"
import { describe, expect, it } from "@effect/vitest"
import { keyProblem } from "../../src/store/internal/storeKey.js"

/** Bytes that are random enough, and the same in each run. */
const bytesOf = (seed: number, length = 32): Buffer =>
  Buffer.concat([0, 1].map((part) => createHash("sha256").update(`${seed} ${part}`).digest())).subarray(0, length)

const among = (alphabet: string, length: number) => (seed: number) =>
  Array.from(bytesOf(seed, 64).subarray(0, length), (byte) => alphabet[byte % alphabet.length]).join("")

const base32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"

const spellings: Readonly<Record<string, (seed: number) => string>> = {
  hexadecimal: (seed) => bytesOf(seed).toString("hex"),
  "hexadecimal in capitals": (seed) => bytesOf(seed).toString("hex").toUpperCase(),
  "hexadecimal in groups": (seed) =>
    bytesOf(seed)
      .toString("hex")
      .replace(/(..)(?=.)/g, "$1:"),
  base64: (seed) => bytesOf(seed).toString("base64"),
  "base64 with a line break": (seed) => `${bytesOf(seed).toString("base64")}\n`,
  "base64 on two lines": (seed) =>
    bytesOf(seed, 64)
      .toString("base64")
      .replace(/(.{64})/, "$1\n"),
  base64url: (seed) => bytesOf(seed).toString("base64url"),
  base32: among(base32, 52),
  "base32 in small letters": among(base32.toLowerCase(), 52),
  "printable characters": among(String.fromCharCode(...Array.from({ length: 94 }, (_, i) => 33 + i)), 40),
  "bytes as they are": (seed) => bytesOf(seed).toString("latin1")
}

describe("1.0 §14 the key of an encrypted store", () => {
  for (const [name, spell] of Object.entries(spellings)) {
    it(`may be 32 random bytes as ${name}`, () => {
      const refused = Array.from({ length: 2_000 }, (_, seed) => spell(seed)).filter(
        (key) => keyProblem(key) !== undefined
      )
      expect(refused).toEqual([])
    })
  }

  const counted = Buffer.from(Array.from({ length: 32 }, (_, i) => i))
  const short = /holds at most \d+ random bytes, and 32 are needed: give at least 32 random bytes/
  const pattern = /repeats itself or follows a pattern/
  it.each([
    ["nothing", "", short],
    ["31 bytes in hexadecimal", bytesOf(1, 31).toString("hex"), short],
    ["31 bytes in base64", bytesOf(1, 31).toString("base64"), short],
    ["32 characters of hexadecimal", bytesOf(1, 16).toString("hex"), short],
    ["32 characters of base64", bytesOf(1, 24).toString("base64"), short],
    ["a UUID", "0b6e7f0e-7d1c-4f0a-9a53-7c1f3ad0d1f4", short],
    ["a password", "correct horse battery staple", short],
    ["a sentence", "a key of fixtures, which protects nothing at all", short],
    ["a sentence with an accent", "mon chat s'appelle Grégoire et il est très gentil", short],
    ["a sentence in another script", "мой кот спит на окне и никого никогда не боится", short],
    ["words without spaces, with an accent", "motdepassetrèslongetbeaucoupdelettres", short],
    ["words with underscores, with an accent", "très-long-mot-de-passe-que-tout-le-monde-connaît", short],
    ["random bytes that are not text", bytesOf(3).toString("utf8"), /bytes that are not text/],
    ["a word again and again", "swordfish ".repeat(30), short],
    ["words with hyphens", "Correct-Horse-Battery-Staple-Correct-Horse-Battery-Staple", short],
    ["one character", "k".repeat(64), pattern],
    ["zeros", "0".repeat(64), pattern],
    ["zeros in base64", Buffer.alloc(32).toString("base64"), short],
    ["two bytes in turn", "a5".repeat(32), pattern],
    ["16 random bytes twice", bytesOf(1, 16).toString("hex").repeat(2), pattern],
    ["all digits in their order", "0123456789abcdef".repeat(4), pattern],
    ["counted bytes in hexadecimal", counted.toString("hex"), pattern],
    ["counted bytes in base64", counted.toString("base64"), pattern],
    ["counted bytes as they are", String.fromCharCode(...Array.from({ length: 32 }, (_, i) => 150 + i)), pattern],
    ["the alphabet", "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", pattern],
    ["a word repeated", "password!".repeat(8), short],
    ["random characters again and again", "x7Gq+Zp".repeat(7), pattern],
    [
      "24 random bytes and half of them again",
      bytesOf(1, 24).toString("base64") + bytesOf(1, 24).toString("base64").slice(0, 16),
      short
    ]
  ])("is not %s, and the refusal does not repeat it", (_, key, why) => {
    const problem = keyProblem(key)
    expect(problem).toMatch(why)
    if (key !== "") expect(problem).not.toContain(key)
  })
})
