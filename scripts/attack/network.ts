/** The network has an inside: a wildcard of a lease reaches no address of this machine, however it is spelled. */
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import type { Check, Observed, Tools } from "./check.js"
import type { Peer } from "./peer.js"
import { answerOf } from "./values.js"

const item = "the network's inside"
const secret = "inside-of-the-network"

const verdict = (ok: string, wrong: ReadonlyArray<string>): Observed => ({
  held: wrong.length === 0,
  observed: wrong.length === 0 ? ok : wrong.join("; ")
})

/** A server on loopback, over IPv4 and, where there is one, IPv6. */
const inside = async (tools: Tools, handler: (path: string) => { readonly location?: string }) => {
  let hits = 0
  const make = (): Server =>
    createServer((request, response) => {
      hits++
      const { location } = handler(request.url ?? "/")
      if (location !== undefined) response.writeHead(302, { location })
      response.end(secret)
    })
  const four = make()
  await new Promise<void>((resolve) => four.listen(0, "127.0.0.1", resolve))
  const { port } = four.address() as AddressInfo
  const six = make()
  await new Promise<void>((resolve) => {
    six.once("error", () => resolve())
    six.listen({ port, host: "::1", ipv6Only: true }, () => resolve())
  })
  tools.after(() => {
    for (const server of [four, six]) {
      server.closeAllConnections()
      server.close()
    }
  })
  return { port, hits: () => hits }
}

/** Every spelling of an address of this machine. */
const spellings: ReadonlyArray<string> = [
  "127.0.0.1",
  "127.1",
  "127.0.1",
  "2130706433",
  "0x7f.1",
  "0x7f000001",
  "0177.0.0.1",
  "127.0.0.2",
  "127.255.255.254",
  "0.0.0.0",
  "0",
  "localhost",
  "LOCALHOST",
  "localhost.",
  "a.localhost",
  "[::1]",
  "[0:0:0:0:0:0:0:1]",
  "[::]",
  "[::ffff:127.0.0.1]",
  "[::ffff:7f00:1]",
  "[::127.0.0.1]",
  "127.0.0.1.",
  "①②⑦.⓪.⓪.①",
  "127。0。0。1"
]

type Fetching = (peer: Peer, url: string, patterns: ReadonlyArray<string>) => Promise<{ ok: boolean; text: string }>

const byAgent: Fetching = async (peer, url, patterns) => {
  const end = await peer.run("does", [{ op: "get", path: url }], { lease: { "net.fetch": patterns } }, 4_000)
  const text = end?.type === "job.result" ? String(end.payload.result[0]) : answerOf(end)
  return { ok: text.includes(secret), text }
}

const byDemo: Fetching = async (peer, url, patterns) => {
  const end = await peer.run("fetch", { url }, { lease: { "net.fetch": patterns } }, 4_000)
  const text = end?.type === "job.result" ? String(end.payload.result?.text) : answerOf(end)
  return { ok: text.includes(secret), text }
}

const composed = async (tools: Tools): Promise<Peer> => {
  const child = tools.child({ program: "guarded", args: ["asked"] })
  return tools.peer(await child.address())
}

const served = async (tools: Tools): Promise<Peer> => {
  const child = tools.child({
    program: "arcp",
    args: ["serve", "--demo", "--port", "0", "--token", "secret=alice", "--allow-any"]
  })
  return tools.peer(await child.address())
}

const wildcards = (name: string, open: (tools: Tools) => Promise<Peer>, fetching: Fetching, quick: boolean): Check => ({
  item,
  name,
  quick,
  seconds: 25,
  run: async (tools) => {
    const { hits, port } = await inside(tools, () => ({}))
    const peer = await open(tools)
    const wrong: Array<string> = []
    const patterns = [
      "http://**",
      `http://*:${port}/**`,
      "http://*:*/**",
      `http://127.*:${port}/**`,
      `http://local*:${port}/**`
    ]
    let tried = 0
    for (const host of spellings) {
      const { ok, text } = await fetching(peer, `http://${host}:${port}/`, patterns)
      if (ok) wrong.push(host)
      if (!text.startsWith("INVALID_REQUEST")) tried++
    }
    const reached = wrong.length > 0 ? [`reached by a wildcard: ${wrong.join(" ")}`] : []
    if (tried < spellings.length) reached.push(`only ${tried} submits were accepted`)
    if (wrong.length === 0 && hits() > 0) reached.push(`${hits()} requests reached the server without an answer`)
    // What a pattern names literally is for the asking.
    const literal = await fetching(peer, `http://127.0.0.1:${port}/`, [`http://127.0.0.1:${port}/**`])
    if (!literal.ok) reached.push(`named literally: ${literal.text.slice(0, 100)}`)
    const named = await fetching(peer, `http://localhost:${port}/`, [`http://localhost:${port}/**`])
    if (!named.ok) reached.push(`localhost named literally: ${named.text.slice(0, 100)}`)
    return verdict(
      `${spellings.length} spellings refused without a connection; what is named literally is fetched`,
      reached
    )
  }
})

const redirects: Check = {
  item,
  name: "a redirect from what is named to what is not",
  run: async (tools) => {
    const target = await inside(tools, () => ({}))
    const places = ["127.0.0.1", "localhost", "[::1]", "0x7f.1", "[::ffff:127.0.0.1]", "127.0.0.2"]
    const source = await inside(tools, (path) => ({
      location: `http://${places[Number(path.slice(1))]}:${target.port}/`
    }))
    const peer = await composed(tools)
    const wrong: Array<string> = []
    for (const [i, host] of places.entries()) {
      const patterns = [`http://127.0.0.1:${source.port}/**`, "http://**"]
      const { ok } = await byAgent(peer, `http://127.0.0.1:${source.port}/${i}`, patterns)
      // The source's own body is the same text, so what counts is whether the target was reached.
      if (ok && target.hits() > 0) wrong.push(`followed to ${host}`)
    }
    if (target.hits() > 0) wrong.push(`${target.hits()} requests reached the target`)
    if (source.hits() < places.length) wrong.push(`the source, which is named, was asked ${source.hits()} times only`)
    return verdict("none is followed", wrong)
  }
}

export const network: ReadonlyArray<Check> = [
  wildcards("spellings of loopback, through a composed runtime", composed, byAgent, true),
  wildcards("spellings of loopback, through arcp serve", served, byDemo, false),
  redirects
]
