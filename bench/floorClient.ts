/** The floor's client: a bare `ws` socket that parses every frame. */
import { WebSocket } from "ws"
import type { FloorRequest } from "./floorServer.js"
import { inGroups, quantile } from "./stats.js"

const dial = (url: string): Promise<WebSocket> =>
  new Promise((resolve, reject) => {
    const socket = new WebSocket(url, { perMessageDeflate: false })
    socket.once("open", () => resolve(socket))
    socket.once("error", reject)
  })

/** What the floor's client can be asked. The tasks have the names and the answers of the ARCP client's. */
export const floorClient = async (url: string) => {
  const socket = await dial(url)
  const readers: Array<WebSocket> = []
  let onText: (message: any) => void = () => undefined
  socket.on("message", (data) => onText(JSON.parse(String(data))))
  const ask = (request: FloorRequest) => socket.send(JSON.stringify(request))

  const timed = (run: (done: () => void) => void): Promise<{ readonly ms: number }> =>
    new Promise((resolve) => {
      const begin = performance.now()
      run(() => resolve({ ms: performance.now() - begin }))
    })

  return {
    events: ({
      corked = false,
      count,
      streams
    }: {
      readonly count: number
      readonly streams: number
      readonly corked?: boolean
    }) =>
      timed((done) => {
        let seen = 0
        onText = (message) => {
          if (message.payload.body.message.length > 0 && ++seen === count) done()
        }
        ask({ op: "events", count, streams, corked })
      }),
    echo: async ({ count }: { readonly count: number }) => {
      const times = new Float64Array(count)
      for (let n = 0; n < count; n++) {
        const begin = performance.now()
        await new Promise<void>((resolve) => {
          onText = () => resolve()
          ask({ op: "echo", n })
        })
        times[n] = (performance.now() - begin) * 1000
      }
      return { p50: quantile(times, 0.5), p99: quantile(times, 0.99) }
    },
    jobs: ({ atOnce, count }: { readonly count: number; readonly atOnce: number }) =>
      timed((done) => {
        let asked = 0
        let answered = 0
        onText = () => {
          if (++answered === count) return done()
          if (asked < count) ask({ op: "echo", n: asked++ })
        }
        while (asked < Math.min(atOnce, count)) ask({ op: "echo", n: asked++ })
      }),
    stream: (options: { readonly bytes: number; readonly chunk: number; readonly encoding: "utf8" | "base64" }) =>
      timed((done) => {
        let seen = 0
        onText = ({ payload: { body } }) => {
          seen += options.encoding === "utf8" ? body.data.length : Buffer.from(body.data, "base64").length
          if (!body.more) done()
        }
        ask({ op: "stream", ...options })
      }),
    observe: async ({ observers }: { readonly observers: number }) => {
      for (const reader of readers.splice(0)) reader.close()
      for (let i = 0; i <= observers; i++) {
        const reader = await dial(url)
        await new Promise((resolve) => {
          reader.once("message", resolve)
          reader.send(JSON.stringify({ op: "observe" } satisfies FloorRequest))
        })
        readers.push(reader)
      }
    },
    observed: ({ count }: { readonly count: number }) =>
      timed((done) => {
        let left = readers.length
        for (const reader of readers) {
          let seen = 0
          reader.removeAllListeners("message")
          reader.on("message", () => {
            if (++seen === count && --left === 0) done()
          })
        }
        ask({ op: "tell", count })
      }),
    idle: async ({ count }: { readonly count: number }) => {
      await inGroups(count, async () => void readers.push(await dial(url)))
    },
    leave: () => {
      for (const reader of readers.splice(0)) reader.close()
    }
  }
}
