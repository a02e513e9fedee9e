/**
 * Another process that knows no lease: swaps a directory for a link and back, as fast as it can, until its time is over.
 * Arguments: the path that is swapped, the path where the other one waits, and the milliseconds.
 */
import { renameSync } from "node:fs"

const [path = "", other = "", millis = "1000"] = process.argv.slice(2)
const rest = `${path}.rest`
const cell = new Int32Array(new SharedArrayBuffer(4))
// Not the same pause each time, so that no rhythm of the job fits it.
let state = 12_345
const wait = (): void => {
  state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff
  Atomics.wait(cell, 0, 0, (state % 8) / 10)
}

const end = performance.now() + Number(millis)
let swaps = 0
process.stdout.write('@ {"kind":"ready"}\n')
while (performance.now() < end) {
  renameSync(path, rest)
  renameSync(other, path)
  wait()
  renameSync(path, other)
  renameSync(rest, path)
  wait()
  swaps++
}
process.stdout.write(`@ {"kind":"swapped","swaps":${swaps}}\n`)
