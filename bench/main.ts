/**
 * The benchmark: client and server in processes of their own on loopback, beside a bare `ws` server that sends the same
 * texts. What the figures mean is in `README.md`.
 *
 * `npm run bench -- [--quick] [--only NAME,NAME] [--peer NAME=URL[,TOKEN]] [--json FILE] [--profile DIR]`
 */
import { mkdirSync, writeFileSync } from "node:fs"
import { resolve } from "node:path"
import { parseArgs } from "node:util"
import { columns } from "./columns.js"
import type { Figure } from "./measure.js"
import { Peer } from "./peers.js"
import { judged, machine, reasons, table } from "./report.js"
import { full, quick } from "./sizes.js"
import { verdicts } from "./targets.js"

const usage = `usage: npm run bench -- [options]
  --quick        smaller counts: one to two minutes
  --only NAMES   some columns only, by comma: ${Object.keys(columns).join(", ")}
  --peer NAME=URL[,TOKEN]
                 also drives another ARCP runtime in the columns job and data; may be given several times
  --json FILE    also writes the figures as JSON; - for stdout
  --profile DIR  also writes a CPU profile of every process; read it with: node bench/dist/top.js FILE`

const main = async (): Promise<void> => {
  const { values } = parseArgs({
    options: {
      quick: { type: "boolean", default: false },
      only: { type: "string" },
      peer: { type: "string", multiple: true, default: [] },
      json: { type: "string" },
      profile: { type: "string" },
      help: { type: "boolean", default: false }
    }
  })
  if (values.help) return console.log(usage)
  const names = values.only?.split(",") ?? Object.keys(columns)
  const unknown = names.filter((name) => columns[name] === undefined)
  if (unknown.length > 0) throw new Error(`there is no column ${unknown.join(", ")}\n${usage}`)
  const profile = values.profile === undefined ? undefined : resolve(values.profile)
  if (profile !== undefined) mkdirSync(profile, { recursive: true })

  const size = values.quick ? quick : full
  const peers = values.peer.map((text) => new Peer(text, size.raw.peerTime))
  const twice = peers.find(({ name }, i) => peers.findIndex((peer) => peer.name === name) !== i)
  if (twice !== undefined) throw new Error(`two peers are named ${twice.name}`)

  const host = machine()
  // What is said on the way goes where it does not mix with the figures.
  const say = (text: string) => process.stderr.write(text)
  const progress = (text: string) => (process.stderr.isTTY ? say(`\r\u001b[K${text}`) : undefined)
  const print = values.json === "-" ? (text: string) => say(`${text}\n`) : console.log
  print(
    `${host.cpu}, ${host.cores} cores, ${host.memoryGb} GB, ${host.system}, node ${host.node}, load ${host.load.toFixed(1)}`
  )
  if (profile !== undefined) print("profiles are being taken: the figures are lower than without")

  const figures: Array<Figure> = []
  const begin = performance.now()
  const took: { [column: string]: number } = {}
  try {
    for (const name of names) {
      const from = performance.now()
      const found = await columns[name]!({ size, profile, progress, peers })
      if (process.stderr.isTTY) say("\r\u001b[K")
      figures.push(...found)
      took[name] = Math.round((performance.now() - from) / 100) / 10
    }
  } finally {
    await Promise.all(peers.map((peer) => peer.stop()))
  }
  const seconds = Math.round((performance.now() - begin) / 1000)
  const targets = verdicts(figures)
  const missing = reasons(figures)
  print(
    `\n${table(
      figures,
      peers.map(({ name }) => name)
    )}${missing === "" ? "" : `\n\n${missing}`}`
  )
  print(`\n${judged(targets)}\n\n${seconds} s${values.quick ? ", quick" : ""}`)
  if (values.json !== undefined) {
    const text = `${JSON.stringify({ machine: host, quick: values.quick, seconds, took, figures, targets }, undefined, 2)}\n`
    if (values.json === "-") process.stdout.write(text)
    else writeFileSync(values.json, text)
  }
}

// A missed target is a measurement; only a run that failed is a failure.
main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
})
