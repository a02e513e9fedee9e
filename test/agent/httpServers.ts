import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { FetchHttpClient, HttpClient } from "@effect/platform"
import { NodeHttpClient } from "@effect/platform-node"
import { Effect, type Layer } from "effect"
import { GuardedHttpClient } from "../../src/agent/index.js"
import { gateOf } from "./gates.js"

/** The clients that are guarded. */
export const clients: ReadonlyArray<{ readonly name: string; readonly layer: Layer.Layer<HttpClient.HttpClient> }> = [
  { name: "FetchHttpClient", layer: FetchHttpClient.layer },
  { name: "NodeHttpClient", layer: NodeHttpClient.layer },
  { name: "NodeHttpClient, undici", layer: NodeHttpClient.layerUndici }
]

/** A request as the server saw it. */
export interface Seen {
  readonly line: string
  readonly headers: IncomingMessage["headers"]
  readonly body: string
}

export interface TestServer {
  readonly origin: string
  readonly port: number
  readonly seen: Array<Seen>
  /** Responses whose connection ended before they did. */
  aborted: number
  /** Bytes of bodies, where a test counts them. */
  written: number
}

/** A real server on this machine. It answers what `answer` does, or the path that it was asked for. */
export const server = (
  answer: (request: IncomingMessage, response: ServerResponse, self: TestServer) => boolean | void = () => false
) =>
  Effect.acquireRelease(
    Effect.async<{ readonly self: TestServer; readonly close: () => void }>((resume) => {
      const http = createServer((request, response) => {
        let body = ""
        request.on("data", (bytes: Buffer) => (body += bytes.toString()))
        request.on("end", () => {
          self.seen.push({ line: `${request.method} ${request.url}`, headers: request.headers, body })
          response.on("close", () => {
            if (!response.writableFinished) self.aborted++
          })
          if (answer(request, response, self) !== true) response.end(`${request.method} ${request.url}`)
        })
      })
      const self: TestServer = { origin: "", port: 0, seen: [], aborted: 0, written: 0 }
      http.listen(0, "127.0.0.1", () => {
        const { port } = http.address() as AddressInfo
        Object.assign(self, { port, origin: `http://127.0.0.1:${port}` })
        resume(
          Effect.succeed({
            self,
            close: () => {
              http.closeAllConnections()
              http.close()
            }
          })
        )
      })
    }),
    ({ close }) => Effect.sync(close)
  ).pipe(Effect.map(({ self }) => self))

/** Redirects by the query: `/r?<status>,<where>`. */
export const redirecting = (request: IncomingMessage, response: ServerResponse): boolean => {
  const at = /^\/r\?(\d+),(.*)$/.exec(request.url ?? "")
  if (at === null) return false
  response.writeHead(Number(at[1]), { location: decodeURIComponent(at[2]!) }).end("moved")
  return true
}

/** A guarded client whose lease covers these URLs. */
export const guarded = (globs: ReadonlyArray<string>, options?: GuardedHttpClient.GuardedHttpClientOptions) =>
  Effect.map(HttpClient.HttpClient, (client) => {
    const gate = gateOf({ "net.fetch": globs })
    return { gate, http: GuardedHttpClient.make(client, gate, options) }
  })
