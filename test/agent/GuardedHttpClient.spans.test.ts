/** §11, §14 What the spans of a guarded client hold of URLs, headers and failures. */
import { describe, expect, it } from "@effect/vitest"
import { Cause, Effect, Exit, Layer, type Tracer } from "effect"
import { recording } from "../support/spans.js"
import { clients, guarded, redirecting, server } from "./httpServers.js"

/** All that a span holds, as an exporter writes it. */
const shown = ({ attributes, name, status }: Tracer.Span): string =>
  JSON.stringify([
    name,
    [...attributes],
    status._tag === "Ended" && Exit.isFailure(status.exit)
      ? Cause.prettyErrors(status.exit.cause).map(({ cause, message, stack }) => [message, stack, String(cause)])
      : status._tag
  ])

for (const { layer, name } of clients) {
  describe(`spans of a guarded client over ${name}`, () => {
    it.scopedLive("§14 have neither queries nor credentials, also of redirects, and keep what is useful", () =>
      Effect.gen(function* () {
        const { layer: tracer, spans } = yield* recording
        const { origin, port, seen } = yield* server(redirecting)
        yield* Effect.gen(function* () {
          const { http } = yield* guarded([`${origin}/**`])
          const to = encodeURIComponent(`${origin}/end?sig=hunter2`)
          const response = yield* http.get(`${origin}/r?302,${to}`, {
            headers: { "x-goog-api-key": "hunter3", "x-own": "kept", referer: `${origin}/from?code=hunter4#hunter5` }
          })
          yield* response.text
          yield* http.get(`${origin}/q`, { urlParams: { token: "hunter6" } })
        }).pipe(Effect.provide(Layer.merge(tracer, layer)))
        expect(seen.map(({ line }) => line)).toContain("GET /end?sig=hunter2")
        const http = spans.filter((span) => span.name === "http.client GET")
        expect(http).toHaveLength(3)
        expect(http.map(shown).join("\n")).not.toContain("hunter")
        expect(http.map(({ attributes }) => attributes.get("url.full"))).toEqual(
          ["r", "end", "q"].map((path) => `${origin}/${path}`)
        )
        expect(http[0]!.attributes.get("http.request.header.x-own")).toBe("kept")
        expect(http[0]!.attributes.get("http.request.header.x-goog-api-key")).toBe("<redacted>")
        expect(http[0]!.attributes.get("server.port")).toBe(port)
        expect(http[0]!.attributes.get("http.response.status_code")).toBe(302)
        for (const span of http) expect(span.attributes.has("url.query")).toBe(false)
        // The request goes on with the trace of its span.
        expect(seen[0]!.headers["traceparent"]).toContain(http[0]!.spanId)
      })
    )

    it.scopedLive("§14 end with failures that do not repeat the query", () =>
      Effect.gen(function* () {
        const { layer: tracer, spans } = yield* recording
        const { origin } = yield* server((_request, response) => {
          response.destroy()
          return true
        })
        yield* Effect.gen(function* () {
          const { http } = yield* guarded([`${origin}/**`])
          const error = yield* Effect.flip(http.get(`${origin}/a?token=hunter2`))
          // The agent has the error as it is.
          expect(error.message).toContain("token=hunter2")
        }).pipe(Effect.provide(Layer.merge(tracer, layer)))
        expect(spans.map(shown).join("\n")).not.toContain("hunter2")
        expect(shown(spans.at(-1)!)).toContain(`${origin}/a?…`)
      })
    )
  })
}
