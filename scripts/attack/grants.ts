/** What a lease may name: what `arcp serve` grants, what a runtime grants without a policy, and where tokens can be seen. */
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import type { Check, Observed, Tools } from "./check.js"
import type { Child } from "./child.js"
import type { Frame, Peer } from "./peer.js"
import { pause } from "./small.js"
import { answerOf } from "./values.js"

const item = "what a lease may name"

const verdict = (ok: string, wrong: ReadonlyArray<string>): Observed => ({
  held: wrong.length === 0,
  observed: wrong.length === 0 ? ok : wrong.join("; ")
})

const token = "attack-token-4711"

/** `arcp serve --demo` on a free port, with one token. */
const serving = async (tools: Tools, args: ReadonlyArray<string>, env: Readonly<Record<string, string>> = {}) => {
  const child = tools.child({ program: "arcp", args: ["serve", "--demo", "--port", "0", "--drain", "1", ...args], env })
  return { child, url: await child.address() }
}

const read = (peer: Peer, path: string, patterns: ReadonlyArray<string>): Promise<Frame | undefined> =>
  peer.run("read", { path }, { lease: { "fs.read": patterns } }, 4_000)

/** Files of the kernel that show processes, and every way to name them. */
const kernelFiles = (pid: number): ReadonlyArray<readonly [string, ReadonlyArray<string>]> => [
  [`/proc/${pid}/cmdline`, ["/proc/**"]],
  [`/proc/${pid}/environ`, ["/**"]],
  ["/proc/self/environ", ["/proc/self/environ"]],
  ["/proc/self/cmdline", ["/proc/*/cmdline"]],
  ["/proc/thread-self/environ", ["/proc/**"]],
  [`/proc/${pid}/status`, ["/p*/**"]],
  [`/proc/${pid}/task/${pid}/environ`, ["/**/environ"]],
  ["/proc/version", ["/**"]],
  ["/sys/kernel/ostype", ["/**"]],
  ["/proc/sys/kernel/hostname", ["/**/hostname"]],
  ["/dev/urandom", ["/d*/**"]],
  [`/proc/${process.pid}/environ`, ["/proc/**"]]
]

const kernel = async (
  peer: Peer,
  files: ReadonlyArray<readonly [string, ReadonlyArray<string>]>
): Promise<ReadonlyArray<string>> => {
  const wrong: Array<string> = []
  for (const [path, patterns] of files) {
    const end = await read(peer, path, patterns)
    if (end?.type !== "job.result") continue
    const text = String(end.payload.result?.text)
    const secrets = text.includes(token) ? " with the token" : ""
    wrong.push(`${path.replace(/\d+/g, "PID")} by ${patterns.join(", ")}: ${text.length} characters${secrets}`)
  }
  return wrong
}

const asked: Check = {
  item,
  name: "arcp serve without a policy: /proc, /sys and /etc",
  quick: true,
  seconds: 25,
  run: async (tools) => {
    const { child, url } = await serving(tools, ["--token", `${token}=alice`])
    const peer = await tools.peer(url, { token })
    const files = kernelFiles(child.process.pid!).filter(([path]) => path !== "/dev/urandom")
    const wrong = await kernel(peer, [...files, ["/etc/passwd", ["/etc/passwd"]], ["/etc/hostname", ["/**"]]])
    return verdict("nothing of the machine is read", wrong)
  }
}

const allowed: Check = {
  item,
  name: "arcp serve --allow: what it names, and nothing else",
  seconds: 25,
  run: async (tools) => {
    const folder = tools.folder()
    for (const name of ["data", "other"]) mkdirSync(join(folder, name))
    writeFileSync(join(folder, "data/a.txt"), "allowed")
    writeFileSync(join(folder, "other/b.txt"), "not allowed")
    symlinkSync("/proc/self", join(folder, "data/self"))
    symlinkSync(join(folder, "other"), join(folder, "data/other"))
    const { child, url } = await serving(tools, ["--token", `${token}=alice`, "--allow", `fs.read=${folder}/data/**`])
    const peer = await tools.peer(url, { token })
    const wrong: Array<string> = []
    const good = await read(peer, join(folder, "data/a.txt"), [`${folder}/**`])
    if (good?.type !== "job.result") wrong.push(`what it names: ${answerOf(good)}`)
    for (const [path, patterns] of [
      [join(folder, "other/b.txt"), [`${folder}/**`]],
      [join(folder, "data/other/b.txt"), [`${folder}/**`]],
      [join(folder, "data/self/environ"), [`${folder}/data/**`, "/proc/**"]],
      ["/etc/passwd", ["/**"]],
      ["/proc/self/environ", ["/proc/self/environ"]]
    ] as const) {
      const end = await read(peer, path, patterns)
      if (end?.type === "job.result") wrong.push(`${path.replace(folder, "")} is read`)
    }
    const accepted = await peer.submit("read", { path: "/x" }, { lease: { "fs.read": ["/**"], "fs.write": ["/**"] } })
    const granted = JSON.stringify(accepted?.payload.lease ?? accepted?.payload.code ?? null)
    if (accepted?.type === "job.accepted" && /"\/\*\*"/.test(granted)) wrong.push(`the submitter is told ${granted}`)
    await pause(200)
    if (!/lease|fs\.read|fs\.write|narrow|allow/i.test(child.output.replace(/listening on .*/, ""))) {
      wrong.push("stderr says nothing of a narrowed lease")
    }
    return verdict("read within it, refused outside, told on stderr and to the submitter", wrong)
  }
}

const any: Check = {
  item,
  name: "arcp serve --allow-any: the process itself stays closed",
  seconds: 25,
  run: async (tools) => {
    const { child, url } = await serving(tools, ["--token", `${token}=alice`, "--allow-any"])
    const peer = await tools.peer(url, { token })
    const wrong = [
      ...(await kernel(
        peer,
        kernelFiles(child.process.pid!).filter(([path]) => path.startsWith("/proc"))
      ))
    ]
    const hosts = await read(peer, "/etc/hostname", ["/**"])
    if (hosts?.type !== "job.result") wrong.push(`/etc/hostname, which it allows: ${answerOf(hosts)}`)
    return verdict("/etc is read, no process is", wrong)
  }
}

const anonymous: Check = {
  item,
  name: "anonymous clients of a runtime without a policy",
  quick: true,
  run: async (tools) => {
    const folder = tools.folder()
    writeFileSync(join(folder, "data"), "inside")
    const child = tools.child({ program: "guarded", args: ["anonymous"] })
    const url = await child.address()
    const peer = await tools.peer(url, { token: null })
    const lease = {
      "fs.read": [`${folder}/**`],
      "fs.write": [`${folder}/**`],
      "net.fetch": ["http://**"],
      "model.use": ["**"],
      "agent.delegate": ["**"],
      "tool.call": ["**"]
    }
    const wrong: Array<string> = []
    const accepted = await peer.submit("does", [], { lease })
    const granted = Object.entries((accepted?.payload.lease ?? {}) as Record<string, ReadonlyArray<string>>)
      .filter(([name, patterns]) => name !== "tool.call" && patterns.length > 0)
      .map(([name]) => name)
    if (granted.length > 0) wrong.push(`granted: ${granted.join(", ")}`)
    const end = await peer.run("does", [{ op: "readFile", path: `${folder}/data` }], { lease })
    if (end?.type === "job.result" && String(end.payload.result[0]).startsWith("ok")) wrong.push("a file is read")
    await pause(100)
    if (!/anonymous/i.test(child.output)) wrong.push("no warning at the start")
    return verdict("tool.call only, and a warning at the start", wrong)
  }
}

/** Reports what the program sees of its tokens. */
const spy = `
import * as Effect from "effect/Effect"
import { Agent } from "effect-arcp/agent"
process.stdout.write("@ " + JSON.stringify({ kind: "env", at: "load", value: process.env.ARCP_TOKENS ?? null }) + "\\n")
export const Spy = Agent.untyped("spy", () => Effect.sync(() => ({
  env: Object.entries(process.env).filter(([, v]) => v?.includes("${token}")).map(([k]) => k),
  title: process.title
})))
`

const commandLine = (child: Child): string => readFileSync(`/proc/${child.process.pid}/cmdline`, "latin1")

const visible: Check = {
  item,
  name: "tokens in the command line, in the environment and in a file",
  seconds: 25,
  run: async (tools) => {
    const wrong: Array<string> = []
    // Beside the package, so that it finds it by its name.
    const module = join(tools.folder(), "spy.mjs")
    writeFileSync(
      module,
      spy
        .replace("effect/Effect", import.meta.resolve("effect/Effect"))
        .replace("effect-arcp/agent", import.meta.resolve("effect-arcp/agent"))
    )
    const file = join(tools.folder(), "tokens")
    writeFileSync(file, `${token}=alice\n`, { mode: 0o600 })
    const given: ReadonlyArray<readonly [string, ReadonlyArray<string>, Readonly<Record<string, string>>]> = [
      ["--token", ["--token", `${token}=alice`], {}],
      ["ARCP_TOKENS", [], { ARCP_TOKENS: `${token}=alice` }],
      ["--token-file", ["--token-file", file], {}]
    ]
    for (const [what, args, env] of given) {
      const started = await serving(tools, [...args, "--agents", module], env).catch((error: Error) => error)
      if (started instanceof Error) {
        wrong.push(`${what}: ${started.message.slice(0, 120)}`)
        continue
      }
      const { child, url } = started
      if (commandLine(child).includes(token)) wrong.push(`${what}: ps shows the token`)
      const peer = await tools.peer(url, { token }).catch((error: Error) => error)
      if (peer instanceof Error) {
        wrong.push(`${what}: ${peer.message}`)
        continue
      }
      const end = await peer.run("spy", null)
      const { env: names = [] } = (end?.payload.result ?? {}) as { env?: Array<string> }
      if (end?.type !== "job.result") wrong.push(`${what}: the agent: ${answerOf(end)}`)
      if (names.length > 0) wrong.push(`${what}: process.env.${names.join(", ")} holds the token`)
      child.kill()
    }
    return verdict("neither ps nor process.env shows a token", wrong)
  }
}

const help: Check = {
  item,
  name: "the help names --token-file and ARCP_TOKENS before --token",
  run: async (tools) => {
    const child = tools.child({ program: "arcp", args: ["serve", "--help"] })
    await child.until(10_000, () => undefined)
    // After the line of usage, which lists the names only.
    const text = child.output.slice(Math.max(0, child.output.indexOf("OPTIONS")))
    const first = text.indexOf("--token-file")
    const second = text.indexOf("ARCP_TOKENS")
    const third = text.search(/--token(?!-)/)
    return {
      held: first !== -1 && second !== -1 && third !== -1 && first < third && second < third,
      observed: `--token-file at ${first}, ARCP_TOKENS at ${second}, --token at ${third} of ${text.length} characters`
    }
  }
}

export const grants: ReadonlyArray<Check> = [asked, allowed, any, anonymous, visible, help]
