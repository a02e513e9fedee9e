/**
 * The program and the configuration of the page on operations: the host behind a real nginx that ends TLS, with a client that drives a job
 * through both. nginx is not a package of npm: where it is not installed this is skipped.
 */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { spawnSync } from "node:child_process"
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { get } from "node:https"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { ArcpClient } from "../../src/client/index.js"
import { WebSocketClient } from "../../src/transport/ws.js"
import { ended, filesOf, freePort, installed, type Ran, start } from "./installed.js"
import { blocksOf } from "./pages.js"

const page = readFileSync("docs/operations.md", "utf8")
const fixture = (name: string) => fileURLToPath(new URL(`../transport/fixtures/${name}`, import.meta.url))
const cert = fixture("localhost.cert.pem")
const ca = readFileSync(cert, "utf8")

const nginx = ["nginx", "/usr/sbin/nginx"].find((command) => spawnSync(command, ["-v"]).status === 0)

/** The page's configuration with this machine's ports and files, inside what nginx needs around it. */
const configured = (folder: string, port: number, upstream: number): string => {
  const block = blocksOf(page).find(({ language }) => language === "nginx")?.text ?? ""
  const own = [
    ["listen 443 ssl", `listen 127.0.0.1:${port} ssl`],
    ["server_name agents.example", "server_name localhost"],
    ["/etc/ssl/agents.example.pem", cert],
    ["/etc/ssl/agents.example.key", fixture("localhost.key.pem")]
  ] as const
  let text = block.replaceAll("127.0.0.1:7777", `127.0.0.1:${upstream}`)
  for (const [theirs, ours] of own) {
    // what the page no longer says cannot be put in
    expect(text).toContain(theirs)
    text = text.replace(theirs, ours)
  }
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    .map((name) => `${name}_temp_path ${folder}/tmp/${name};`)
    .join("\n")
  return `daemon off;
${process.getuid?.() === 0 ? "user root;\n" : ""}pid ${folder}/nginx.pid;
error_log stderr notice;
events {}
http {
access_log off;
${temporary}
${text}
}
`
}

/** Waits for a program's sign of life, or fails with what it wrote when it has ended. */
const until = (life: Promise<unknown>, end: Promise<Ran>): Promise<unknown> =>
  Promise.race([life, end.then((ran) => Promise.reject(new Error(`it has ended: ${JSON.stringify(ran)}`)))])

interface Answer {
  readonly status: number | undefined
  readonly body: string
}

const fetched = (url: string): Promise<Answer> =>
  new Promise((resolve, reject) => {
    get(url, { ca, agent: false }, (response) => {
      let body = ""
      response.on("data", (data: Buffer) => (body += data.toString()))
      response.on("end", () => resolve({ status: response.statusCode, body }))
    }).on("error", reject)
  })

/** What the host says of its health once it says something: until it listens nginx answers 502. */
const healthy = async (url: string): Promise<Answer> => {
  for (;;) {
    const answer = await fetched(url).catch(() => undefined)
    if (answer?.status === 200) return answer
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

describe("docs/operations.md", () => {
  it.skipIf(nginx === undefined)(
    `its host serves jobs, health and no metrics through its nginx${nginx === undefined ? " (skipped: nginx is not installed)" : ""}`,
    { timeout: 300_000 },
    async () => {
      const [port, upstream] = [await freePort(), await freePort()]
      const folder = installed(filesOf(page), upstream)
      mkdirSync(join(folder, "tmp"))
      chmodSync(folder, 0o755)
      const config = join(folder, "nginx.conf")
      writeFileSync(config, configured(folder, port, upstream))
      const command = nginx ?? ""
      const tested = await ended(start(folder, ["-t", "-c", config, "-p", folder], {}, command))
      expect(tested).toMatchObject({ code: 0, err: expect.stringContaining("test is successful") })
      expect(tested.err).not.toContain("[warn]")

      const host = start(folder, ["--import", "tsx", "host.ts"], { ARCP_TOKENS: "secret=alice" })
      const hostEnd = ended(host)
      const proxy = start(folder, ["-c", config, "-p", folder], {}, command)
      const proxyEnd = ended(proxy)
      try {
        const health = await until(until(healthy(`https://localhost:${port}/health`), hostEnd), proxyEnd)
        expect(health).toEqual({ status: 200, body: '{"pending":0,"running":0}' })

        const result = await Effect.runPromise(
          Effect.flatMap(ArcpClient, (client) => client.submit("greet", "world")).pipe(
            Effect.flatMap((job) => job.result),
            Effect.timeout("2 minutes"),
            Effect.provide(
              ArcpClient.layer({ auth: { token: Redacted.make("secret") } }).pipe(
                Layer.provide(WebSocketClient.layer({ url: `wss://localhost:${port}/arcp`, tls: { ca } }))
              )
            )
          )
        )
        expect(result).toBe("hello, world")

        // Metrics are for this machine only.
        expect((await fetched(`https://localhost:${port}/metrics`)).status).toBe(404)
        const metrics = await (await fetch(`http://127.0.0.1:${upstream}/metrics`)).text()
        expect(metrics).toMatch(/^arcp_jobs_ended\{runtime="agents",status="success"\} 1$/m)
        expect(metrics).toMatch(/^arcp_commit_milliseconds_bucket\{runtime="agents",le="\+Inf"\} \d+$/m)
        for (const line of metrics.trimEnd().split("\n"))
          expect(line).toMatch(/^[a-z_]+\{(?:[a-z_]+="[^"]*",?)*\} -?[0-9.e+]+$/)
      } finally {
        proxy.kill("SIGTERM")
        host.kill("SIGTERM")
      }
      await Promise.all([hostEnd, proxyEnd])
    }
  )
})
