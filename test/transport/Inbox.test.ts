/** The queue between a driver and its reader: what a reader without a fiber sees. */
import { expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { Inbox } from "../../src/transport/internal/Inbox.js"

/** A reader that takes what `takes` says, and what it has seen. */
const resting = (inbox: Inbox<number>, takes: (item: number) => boolean) => {
  const seen: Array<number | "woken"> = []
  const rested = inbox.rest({
    take: (item) => {
      const taken = takes(item)
      if (taken) seen.push(item)
      return taken
    },
    wake: () => seen.push("woken")
  })
  return { rested, seen }
}

it("1.0 §4.3 a resting reader takes items as they come, until one is queued; then it is woken, once", () => {
  const inbox = new Inbox<number>()
  const { rested, seen } = resting(inbox, (item) => item !== 3)
  expect(rested).toBe(true)
  for (const item of [1, 2, 3, 4]) inbox.push(item)
  expect(seen).toEqual([1, 2, "woken"])
  expect(inbox.size).toBe(2)
  expect(Effect.runSync(inbox.pull)).toEqual([3, 4])
})

it("1.0 §4.3 a reader does not rest where something waits, or behind the end", () => {
  const inbox = new Inbox<number>()
  inbox.push(1)
  expect(resting(inbox, () => true).rested).toBe(false)
  expect(Effect.runSync(inbox.pull)).toEqual([1])
  inbox.end()
  expect(resting(inbox, () => true)).toEqual({ rested: false, seen: [] })
  expect(Effect.runSync(inbox.pull)).toBe(undefined)
})

it("1.0 §4.3 what is pushed while an item is taken comes behind it, and so does the end", () => {
  const inbox = new Inbox<number>()
  const { seen } = resting(inbox, (item) => {
    if (item === 1) {
      inbox.push(2)
      inbox.end()
    }
    return true
  })
  inbox.push(1)
  expect(seen).toEqual([1, "woken"])
  expect(Effect.runSync(inbox.pull)).toEqual([2])
  expect(Effect.runSync(inbox.pull)).toBe(undefined)
})

it("1.0 §4.3 a resting reader is woken by the end, and not once it has been roused", () => {
  const ended = new Inbox<number>()
  const { seen } = resting(ended, () => true)
  ended.end()
  expect(seen).toEqual(["woken"])
  const roused = new Inbox<number>()
  const other = resting(roused, () => true)
  roused.rouse()
  roused.push(1)
  roused.end()
  expect(other.seen).toEqual([])
  expect(Effect.runSync(roused.pull)).toEqual([1])
})
