/**
 * A stand-in for a LiteLLM proxy: a real HTTP server with the key management and the enforcement that LiteLLM has, and its shapes of
 * errors. Keys are kept by their SHA-256 as LiteLLM does; wildcards become regular expressions as they do there.
 */
import { Effect } from "effect"
import { createHash, randomBytes } from "node:crypto"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"

interface Key {
  readonly token: string
  readonly alias: string | null
  readonly models: ReadonlyArray<string>
  readonly maxBudget: number | null
  readonly expires: number | null
  readonly metadata: unknown
  spend: number
}

export interface Received {
  readonly path: string
  readonly authorization: string | undefined
  readonly body: Record<string, unknown>
}

/** What the next requests to a path meet; each is used once. `after`: the work is done and the answer lost. */
export interface Fault {
  readonly path: string
  readonly kind: "status" | "drop" | "drop after" | "garbage" | "huge" | "route 404"
  readonly status?: number
}

export const masterKey = "sk-master-1234567890"

const hash = (key: string) => createHash("sha256").update(key).digest("hex")

const accessGroups: Record<string, ReadonlyArray<string>> = { "tier-fast": ["tier-fast/a", "tier-fast/b"] }
const prices: Record<string, number> = { "tier-fast/a": 0.25, "tier-fast/b": 0.25, "tier-slow/x": 1, "gpt-4o": 0.5 }

const allowed = (key: Key, model: string): boolean =>
  key.models.length === 0 ||
  key.models.some(
    (name) =>
      name === model ||
      name === "all-proxy-models" ||
      accessGroups[name]?.includes(model) === true ||
      (name.includes("*") && new RegExp(`^${name.replaceAll("*", ".*")}$`).test(model))
  )

const read = (request: IncomingMessage): Promise<Record<string, unknown>> =>
  new Promise((resolve) => {
    let text = ""
    request.on("data", (chunk: Buffer) => (text += chunk.toString("utf8")))
    request.on("end", () => resolve(text === "" ? {} : (JSON.parse(text) as Record<string, unknown>)))
  })

export const standIn = Effect.gen(function* () {
  const keys = new Map<string, Key>()
  const received: Array<Received> = []
  const faults: Array<Fault> = []

  const send = (response: ServerResponse, status: number, body: unknown): void => {
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body))
  }
  const refuse = (response: ServerResponse, status: number, type: string, message: string, param: string) =>
    send(response, status, { error: { message, type, param, code: String(status) } })

  const byAlias = (alias: unknown) => [...keys.values()].find((key) => key.alias === alias)

  const generate = (response: ServerResponse, body: Record<string, unknown>): void => {
    const alias = typeof body["key_alias"] === "string" ? body["key_alias"] : null
    if (alias !== null && byAlias(alias) !== undefined) {
      const message = `Key with alias '${alias}' already exists. Unique key aliases across all keys are required.`
      return refuse(response, 400, "bad_request_error", message, "key_alias")
    }
    const key = `sk-${randomBytes(16).toString("base64url")}`
    const seconds = /^(\d+)s$/.exec(String(body["duration"] ?? ""))?.[1]
    const made: Key = {
      token: hash(key),
      alias,
      models: (body["models"] as ReadonlyArray<string> | undefined) ?? [],
      maxBudget: (body["max_budget"] as number | undefined) ?? null,
      expires: seconds === undefined ? null : Date.now() + Number(seconds) * 1000,
      metadata: body["metadata"] ?? {},
      spend: 0
    }
    keys.set(made.token, made)
    send(response, 200, {
      key,
      key_name: `sk-...${key.slice(-4)}`,
      key_alias: alias,
      token: made.token,
      token_id: made.token,
      expires: made.expires === null ? null : new Date(made.expires).toISOString(),
      models: made.models,
      max_budget: made.maxBudget,
      spend: 0,
      metadata: made.metadata
    })
  }

  const remove = (response: ServerResponse, body: Record<string, unknown>): void => {
    const aliases = (body["key_aliases"] as ReadonlyArray<string> | undefined) ?? []
    const tokens = ((body["keys"] as ReadonlyArray<string> | undefined) ?? []).map((key) =>
      key.startsWith("sk-") ? hash(key) : key
    )
    const found = [...keys.values()].filter(
      (key) => tokens.includes(key.token) || (key.alias !== null && aliases.includes(key.alias))
    )
    if (found.length === 0) {
      return refuse(response, 404, "auth_error", "{'error': 'No keys found'}", "None")
    }
    for (const key of found) keys.delete(key.token)
    send(response, 200, { deleted_keys: aliases.length > 0 ? aliases : tokens })
  }

  const complete = (response: ServerResponse, bearer: string, body: Record<string, unknown>): void => {
    const key = keys.get(hash(bearer))
    if (key === undefined) {
      const message = `Authentication Error, Invalid proxy server token passed. Received API Key = sk-...${bearer.slice(-4)}, Key Hash (Token) =${hash(bearer)}. Unable to find token in cache or \`LiteLLM_VerificationTokenTable\``
      return refuse(response, 401, "token_not_found_in_db", message, "key")
    }
    if (key.expires !== null && key.expires < Date.now()) {
      // as LiteLLM does it: with the key in the open
      return refuse(response, 400, "expired_key", "Authentication Error - Expired Key.", bearer)
    }
    const model = String(body["model"])
    if (!allowed(key, model)) {
      const message = `key not allowed to access model. This key can only access models=${JSON.stringify(key.models)}. Tried to access ${model}`
      return refuse(response, 403, "key_model_access_denied", message, "model")
    }
    if (key.maxBudget !== null && key.spend >= key.maxBudget) {
      const message = `Budget has been exceeded! Current cost: ${key.spend}, Max budget: ${key.maxBudget}`
      return refuse(response, 400, "budget_exceeded", message, "None")
    }
    key.spend += prices[model] ?? 0
    send(response, 200, {
      id: "chatcmpl-1",
      model,
      choices: [{ index: 0, message: { role: "assistant", content: "ok" } }]
    })
  }

  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const url = new URL(request.url ?? "/", "http://localhost")
    const body = await read(request)
    const { authorization } = request.headers
    received.push({ path: url.pathname, authorization, body })
    const at = faults.findIndex(({ path }) => path === url.pathname)
    const fault = at === -1 ? undefined : faults.splice(at, 1)[0]
    switch (fault?.kind) {
      case "drop":
        return void response.destroy()
      case "status":
        return refuse(response, fault.status ?? 500, "internal_server_error", `leaky ${masterKey}`, "None")
      case "garbage":
        return void response.writeHead(200).end("<html>hello</html>")
      case "huge":
        return void response.writeHead(200).end("x".repeat(1_000_000))
      case "route 404":
        return send(response, 404, { detail: "Not Found" })
      default:
    }
    const bearer = (authorization ?? "").replace(/^Bearer /, "")
    const work = (answer: ServerResponse): void => {
      if (url.pathname === "/v1/chat/completions") return complete(answer, bearer, body)
      if (bearer !== masterKey) {
        return refuse(answer, 401, "auth_error", "Authentication Error, Only proxy admin can be used here", "None")
      }
      if (url.pathname === "/key/generate") return generate(answer, body)
      if (url.pathname === "/key/delete") return remove(answer, body)
      if (url.pathname === "/key/info") {
        const wanted = url.searchParams.get("key") ?? ""
        const key = keys.get(wanted.startsWith("sk-") ? hash(wanted) : wanted)
        return key === undefined
          ? refuse(answer, 404, "not_found_error", "Key not found in database", "key")
          : send(answer, 200, {
              key: wanted,
              info: { key_alias: key.alias, spend: key.spend, max_budget: key.maxBudget, models: key.models }
            })
      }
      send(answer, 404, { detail: "Not Found" })
    }
    if (fault?.kind === "drop after") {
      const nowhere = { writeHead: () => nowhere, end: () => nowhere } as unknown as ServerResponse
      work(nowhere)
      return void response.destroy()
    }
    work(response)
  }

  const server = createServer((request, response) => void handle(request, response))
  yield* Effect.acquireRelease(
    Effect.async<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void))),
    () =>
      Effect.async<void>((resume) => {
        server.closeAllConnections()
        server.close(() => resume(Effect.void))
      })
  )
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    keys: () => [...keys.values()],
    received,
    fail: (...next: ReadonlyArray<Fault>) => void faults.push(...next)
  }
})
