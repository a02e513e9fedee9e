/** Keys of encrypted stores, strong enough to be taken and the same in each run; and stores under keys that are not. */
import { createHash } from "node:crypto"
import { Redacted } from "effect"
import { aesGcmOf } from "../../src/store/internal/aesGcm.js"
import { layerSealed } from "../../src/store/internal/sqliteLayer.js"

/** 32 bytes in hexadecimal; another key for each number. */
export const storeKey = (n = 0): Redacted.Redacted<string> =>
  Redacted.make(createHash("sha256").update(`a key of tests ${n}`).digest("hex"))

/** The stores in a file under a key that is too weak, as an earlier version took it. */
export const weaklySealed = (filename: string, key: Redacted.Redacted<string>) =>
  layerSealed({ filename, synchronous: "NORMAL", durable: true }, aesGcmOf(key))
