/** Other runtimes in `npm run bench -- --peer`: their column comes, and what they lack is a dash with its reason. */
import { execFile } from "node:child_process"
import { join } from "node:path"
import { promisify } from "node:util"
import { beforeAll, describe, expect, it } from "vitest"
import type { Figure } from "../../bench/measure.js"
import { Peer } from "../../bench/peers.js"
import { bundle } from "../bundle.js"

interface Probed {
  readonly figures: ReadonlyArray<Figure>
  readonly reasons: string
  readonly table: string
}

/** Names of the figures that a peer has a value for, and of those that it lacks. */
const having = ({ figures }: Probed, peer: string): ReadonlyArray<string> =>
  figures.filter(({ samples }) => samples[peer] !== undefined).map(({ name }) => name)
const lacking = ({ figures }: Probed, peer: string): ReadonlyMap<string, string> =>
  new Map(figures.flatMap(({ missing, name }) => (missing?.[peer] === undefined ? [] : [[name, missing[peer]]])))

describe("a peer of the benchmark", () => {
  let probed: Probed
  beforeAll(async () => {
    const folder = bundle({ probe: "test/bench/peerProbe.ts", client: "bench/client.ts" })
    const { stdout } = await promisify(execFile)(process.execPath, [join(folder, "probe.js")], { timeout: 110_000 })
    probed = JSON.parse(stdout) as Probed
  })

  it("that is a runtime with the agents has every figure, by a token of its own", () => {
    expect([...lacking(probed, "self").values()].filter((reason) => !/process cannot be seen/.test(reason))).toEqual([])
    expect(having(probed, "self")).toEqual(
      expect.arrayContaining([
        "p50",
        "64 at once",
        "64 sessions",
        "events",
        "stream utf8",
        "stream base64",
        "fan-out to 10 observers and the owner",
        "replay",
        "ping p50"
      ])
    )
    for (const { samples } of probed.figures) expect(samples["self"]?.median ?? 1).toBeGreaterThan(0)
  })

  it("that lacks an agent has a dash there, and what it has comes after it all the same", () => {
    expect(having(probed, "echoOnly")).toEqual(expect.arrayContaining(["64 at once", "p50", "ping p50"]))
    const missing = lacking(probed, "echoOnly")
    for (const name of ["events", "stream utf8", "replay"]) expect(missing.get(name)).toContain("AGENT_NOT_AVAILABLE")
    const row = probed.table.split("\n").find((line) => line.startsWith("data: events "))!
    const columns = probed.table
      .split("\n")[0]!
      .trim()
      .split(/\s{2,}/)
    expect(columns.slice(3)).toEqual(["self", "echoOnly", "closes", "mute", "hangs", "gone"])
    expect(row.split(/\s{2,}/).slice(-5)).toEqual(["-", "-", "-", "-", "-"])
    expect(probed.reasons).toMatch(/^- echoOnly: .*AGENT_NOT_AVAILABLE.*data: events/m)
  })

  it("that closes, is mute or does not listen has no figure, and one reason", () => {
    const reasonOf = (peer: string) => [...new Set(lacking(probed, peer).values())]
    for (const peer of ["closes", "mute", "hangs", "gone"]) expect(having(probed, peer)).toEqual([])
    expect(reasonOf("closes")).toEqual(["the connection was closed (1008) not for you"])
    expect(reasonOf("mute")).toEqual(["no session within 4 s"])
    expect(reasonOf("gone")).toEqual([expect.stringContaining("ECONNREFUSED")])
  })

  it("that hangs after the welcome is given up when it has exceeded its time twice", () => {
    expect([...new Set(lacking(probed, "hangs").values())]).toEqual([
      "it did not end within 4 s",
      "it did not end within 4 s, 2 times"
    ])
  })

  it("is named as nothing else is, and has a WebSocket's URL", () => {
    expect(() => new Peer("memory=ws://localhost:1", 1)).toThrow("memory is a column of the table already")
    for (const text of ["ws://localhost:1", "go=http://localhost:1", "go=", "go=ws://"]) {
      expect(() => new Peer(text, 1)).toThrow("a peer is given as NAME=URL or NAME=URL,TOKEN")
    }
    expect(new Peer("go=ws://localhost:1/arcp,a,b", 1).name).toBe("go")
  })
})
