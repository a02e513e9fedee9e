/** The names of capabilities in a lease that a program asks for: the compiler knows them, and the runtime judges those from elsewhere. */
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { Agent, Job } from "../../src/agent/index.js"
import { ArcpClient, type SubmitOptions } from "../../src/client/index.js"
import type { Fields, LeaseRequest } from "../../src/protocol/index.js"
import { TestArcp } from "../../src/testing/index.js"

const EchoLive = Agent.untyped("echo", () => Effect.map(Job, ({ lease }) => lease))

describe("§9.2 the names of a lease", () => {
  it("reserved names and vendors' names compile, another does not", () => {
    const named: LeaseRequest = {
      "fs.read": ["/data/**"],
      "fs.write": ["/out/**"],
      "net.fetch": ["https://example.com/**"],
      "tool.call": ["search.*"],
      "agent.delegate": ["echo"],
      "cost.budget": ["USD:1.00"],
      "model.use": ["tier-fast/*"],
      "x-vendor.acme.thing": ["*"]
    }
    const submits: ReadonlyArray<SubmitOptions> = [
      { lease: named },
      // @ts-expect-error a reserved name in another spelling
      { lease: { "fs.red": ["/data/**"] } },
      // @ts-expect-error a name without a vendor
      { lease: { "acme.thing": ["*"] } },
      // @ts-expect-error one pattern is a list, too
      { lease: { "x-vendor.acme.thing": "*" } }
    ]
    const delegated = Job.delegate("echo", null, { lease: { "tool.call": ["search.*"], "x-vendor.acme.thing": ["*"] } })
    // @ts-expect-error the names of a delegated lease are checked as well
    const mistyped = Job.delegate("echo", null, { lease: { "tool.cal": ["search.*"] } })
    expect([Object.keys(named).length, submits.length]).toEqual([8, 4])
    expect([delegated, mistyped].every(Effect.isEffect)).toBe(true)
  })

  it.scoped("a lease from the wire can be asked for as it is, and the runtime judges its names", () =>
    Effect.gen(function* () {
      const client = yield* ArcpClient
      const wire: Fields.WireLease = { "fs.read": ["/data/**"], "x-vendor.acme.thing": ["*"] }
      const job = yield* client.submit("echo", null, { lease: wire })
      expect(yield* job.result).toEqual(wire)
      const misspelled: Fields.WireLease = { "fs.red": ["/data/**"] }
      const refused = yield* Effect.flip(client.submit("echo", null, { lease: misspelled }))
      expect(refused).toMatchObject({ _tag: "InvalidRequest", details: { hint: "fs.read" } })
    }).pipe(Effect.provide(TestArcp.layer(EchoLive)))
  )
})
