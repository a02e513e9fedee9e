/** §9.8.2, §14 Whatever a provisioner returns or fails with, its submit fails alone and every key that it may have made is revoked. */
import { describe, expect, it } from "@effect/vitest"
import { Context, Effect, Layer, Logger, Redacted, TestClock } from "effect"
import { Ids } from "../../src/protocol/index.js"
import { CredentialProvisioner, Credentials } from "../../src/runtime/index.js"
import { hostileValues } from "../support/hostile.js"
import { durableMemory, request } from "./credentialWorld.js"

type Issue = Context.Tag.Service<CredentialProvisioner>["issue"]

/** A provisioner written as a class, which looks at itself. */
class Scripted {
  readonly revoked: Array<string> = []
  readonly reclaimed: Array<string> = []
  next: () => unknown = () => []
  readonly references: Array<string> = []

  issue({ reference }: Parameters<Issue>[0]): ReturnType<Issue> {
    this.references.push(reference)
    return this.next() as ReturnType<Issue>
  }
  revoke(handle: string) {
    return Effect.sync(() => void this.revoked.push(handle))
  }
  rotate(_handle: string, asked: Parameters<Issue>[0]) {
    return Effect.map(this.issue(asked), (all) => all[0]!)
  }
  reclaim(reference: string) {
    return Effect.sync(() => void this.reclaimed.push(reference))
  }
}

let keys = 0
const good = () => {
  const handle = `key-${++keys}`
  return { handle, value: Redacted.make(`secret-of-${handle}`), endpoint: "https://gateway.test/v1" }
}

const started = Effect.gen(function* () {
  const scripted = new Scripted()
  const built = yield* Layer.build(
    Credentials.layer({}).pipe(
      Layer.provide(Layer.succeed(CredentialProvisioner, scripted)),
      Layer.provide(durableMemory),
      Layer.provide(Ids.layerSeeded(3)),
      Layer.provide(
        Logger.replace(
          Logger.defaultLogger,
          Logger.make(() => undefined)
        )
      )
    )
  )
  return { scripted, credentials: Context.get(built, Credentials) }
})

const settle = TestClock.adjust("2 minutes")

describe("a provisioner that is hostile", () => {
  it.scoped.each([
    ["fails with", (value: unknown) => Effect.suspend(() => Effect.fail(value))],
    ["dies of", (value: unknown) => Effect.die(value)],
    ["returns", (value: unknown) => Effect.succeed(value)],
    ["returns a list of", (value: unknown) => Effect.succeed([value])],
    ["throws", (value: unknown) => ({ value })]
  ] as const)(
    "§9.8.2 %s hostile values: the submit fails, what may be there is reclaimed, the next works",
    ([how, make]) =>
      Effect.gen(function* () {
        const { credentials, scripted } = yield* started
        for (const [name, value] of hostileValues) {
          scripted.next = () => {
            const made = make(value())
            if (how === "throws") throw new Error("thrown by the provisioner")
            return made
          }
          const exit = yield* Effect.exit(credentials.issue(request(`job-${how}-${name}`)))
          yield* settle
          expect(exit._tag, name).toBe("Failure")
          expect(scripted.reclaimed, name).toContain(scripted.references.at(-1))
        }
        scripted.next = () => Effect.succeed([good()])
        expect(yield* credentials.issue(request("job-good"))).toHaveLength(1)
      })
  )

  it.scoped.each(["handle", "value", "endpoint", "scheme", "profile", "constraints"])(
    "§14 a key whose %s is hostile is refused, and it and its neighbour are revoked",
    (field) =>
      Effect.gen(function* () {
        const { credentials, scripted } = yield* started
        for (const [name, value] of hostileValues) {
          const neighbour = good()
          const wrong = { ...good() }
          Object.defineProperty(wrong, field, { get: () => value(), enumerable: true })
          // An absent option is none, and a text is what it is: neither is hostile there.
          const harmless = value() === undefined || (typeof value() === "string" && field === "constraints")
          scripted.next = () => Effect.succeed([neighbour, wrong])
          const exit = yield* Effect.exit(credentials.issue(request(`job-${field}-${name}`)))
          yield* settle
          if (exit._tag === "Success") {
            expect(harmless || field === "constraints", `${field}: ${name}`).toBe(true)
            continue
          }
          expect(scripted.revoked, `${field}: ${name}`).toContain(neighbour.handle)
          // A handle that is a text may be the upstream's, however long it is.
          if (field === "handle" && typeof value() !== "string")
            expect(scripted.reclaimed, name).toContain(scripted.references.at(-1))
          else if (field !== "handle") expect(scripted.revoked, `${field}: ${name}`).toContain(wrong.handle)
        }
      })
  )

  it.scoped("§9.8.2 constraints of other types are refused, and the key is revoked", () =>
    Effect.gen(function* () {
      const { credentials, scripted } = yield* started
      for (const constraints of [
        null,
        5,
        "text",
        { "cost.budget": 5 },
        { "cost.budget": [5] },
        { "model.use": 5 },
        { "model.use": [{}] },
        { expires_at: 5 },
        { expires_at: {} }
      ]) {
        const key = { ...good(), constraints } as never as ReturnType<typeof good>
        scripted.next = () => Effect.succeed([key])
        const exit = yield* Effect.exit(credentials.issue(request(`job-${JSON.stringify(constraints)}`)))
        yield* settle
        if (exit._tag === "Failure") expect(scripted.revoked).toContain(key.handle)
        else expect([5, "text"]).toContainEqual(constraints)
      }
    })
  )
})
