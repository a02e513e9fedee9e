/**
 * The client that drives any ARCP runtime: {@link RawSession}s on bare sockets. Its tasks have the names and the answers of the
 * other clients'; the agents that they need, and what those are given, are in `README.md`.
 */
import type { AskServer } from "./client.js"
import { now } from "./clock.js"
import { RawSession, type SessionOptions, type Watch } from "./rawSession.js"
import { inGroups, latencies, quantile, within } from "./stats.js"

/** How long a job that others are to observe waits before it emits. */
const untilObserved = 500

/** Its failure is not unheeded before it is waited for. */
const heeded = <A>(task: Promise<A>): Promise<A> => {
  task.catch(() => undefined)
  return task
}

/** What a raw client can be asked. */
export const rawClient = async (url: string, token: string, ask: AskServer) => {
  const open = (more: Partial<SessionOptions> = {}) => RawSession.open({ url, token, ...more })
  const main = await open()
  const others: Array<RawSession> = []
  const kept: Array<RawSession> = []
  let gates = 0
  /** As many sessions as are needed, the first one's connection among them. */
  const sessions = async (count: number): Promise<ReadonlyArray<RawSession>> => {
    while (others.length + 1 < count) others.push(await open())
    return [main, ...others.slice(0, count - 1)]
  }
  const timed = async (run: () => Promise<unknown>): Promise<{ readonly ms: number }> => {
    const begin = performance.now()
    await run()
    return { ms: performance.now() - begin }
  }
  /** A job that emits, every event of it parsed. */
  const counted = async (count: number) => {
    let seen = 0
    await new Promise((ended, failed) =>
      main.submit(
        "counter",
        { count },
        {
          event: ({ payload }) => {
            if (payload["kind"] === "log" && payload["body"].message.length > 0) seen++
          },
          ended,
          failed
        }
      )
    )
    if (seen !== count) throw new Error(`${seen} of ${count} events came`)
  }
  /** Starts a job that waits before it emits; answers its id. */
  const later = (
    session: RawSession,
    count: number,
    watch: { readonly ended: () => void; readonly failed: (error: Error) => void }
  ) =>
    new Promise<string>((accepted, reject) =>
      session.submit(
        "counter",
        { count, delay_ms: untilObserved },
        {
          accepted,
          ended: watch.ended,
          failed: (error) => {
            reject(error)
            watch.failed(error)
          }
        }
      )
    )
  let pinging:
    | { stopped: boolean; readonly waits: Array<number>; sentAt: number; readonly over: Promise<void> }
    | undefined

  return {
    echo: async ({ agent = "echo", count }: { readonly count: number; readonly agent?: string }) => {
      const times = new Float64Array(count)
      for (let n = 0; n < count; n++) {
        const { ms } = await timed(() => main.run(agent, { n }))
        times[n] = ms * 1000
      }
      return { p50: quantile(times, 0.5), p99: quantile(times, 0.99) }
    },
    jobs: async ({
      agent = "echo",
      atOnce,
      count,
      sessions: many = 1
    }: {
      readonly count: number
      /** Jobs at a time on each session. */
      readonly atOnce: number
      readonly sessions?: number
      readonly agent?: string
    }) => {
      const on = await sessions(many)
      let left = count
      const worker = async (session: RawSession) => {
        while (left-- > 0) await session.run(agent, { n: left })
      }
      return timed(() => Promise.all(on.flatMap((session) => Array.from({ length: atOnce }, () => worker(session)))))
    },
    events: ({ count, streams }: { readonly count: number; readonly streams: number }) =>
      timed(() => Promise.all(Array.from({ length: streams }, () => counted(count / streams)))),
    stream: (options: { readonly bytes: number; readonly chunk: number; readonly encoding: "utf8" | "base64" }) => {
      let seen = 0
      return timed(async () => {
        await new Promise((ended, failed) =>
          main.submit("stream", options, {
            event: ({ payload: { body, kind } }) => {
              if (kind !== "result_chunk") return
              seen += options.encoding === "utf8" ? body.data.length : Buffer.from(body.data, "base64").length
            },
            ended,
            failed
          })
        )
        if (seen !== options.bytes) throw new Error(`${seen} of ${options.bytes} bytes came`)
      })
    },
    /** A job and so many observers: from the first event until each has had all. */
    fanOut: async ({ count, observers }: { readonly count: number; readonly observers: number }) => {
      const on: Array<RawSession> = []
      try {
        for (let i = 0; i <= observers; i++) on.push(await open({ lean: true }))
        const owner = on[0]!
        const ends: Array<Promise<unknown>> = []
        const jobId = await new Promise<string>((resolve, reject) => {
          const end = new Promise<void>((ended, failed) => {
            later(owner, count, { ended, failed }).then(resolve, reject)
          })
          ends.push(heeded(end))
        })
        for (const observer of on.slice(1)) {
          const end = new Promise<unknown>((ended, failed) => {
            observer.subscribe(jobId, { ended, failed }).catch(failed)
          })
          ends.push(heeded(end))
        }
        // The agent's wait is not counted, nor the status with which a job begins.
        for (const session of on) session.firstAt = undefined
        await Promise.all(ends)
        const least = Math.min(...on.map(({ events }) => events))
        if (least < count) throw new Error(`an observer had ${least} of ${count} events`)
        return { ms: performance.now() - Math.min(...on.map(({ firstAt }) => firstAt ?? Number.POSITIVE_INFINITY)) }
      } finally {
        for (const session of on) session.close()
      }
    },
    /** Events that are emitted while the session is away: from its reconnect until all of them are there. */
    replay: async ({ count }: { readonly count: number }) => {
      const [away, observer] = [await open(), await open({ lean: true })]
      let back: RawSession | undefined
      try {
        const jobId = await later(away, count, { ended: () => undefined, failed: () => undefined })
        const over = heeded(
          new Promise<unknown>((ended, failed) => {
            observer.subscribe(jobId, { ended, failed }).catch(failed)
          })
        )
        const resume = { sessionId: away.sessionId, resumeToken: away.resumeToken, lastSeq: away.lastSeq }
        away.close()
        await over
        let seen = 0
        let all: () => void
        const replayed = new Promise<void>((resolve) => (all = resolve))
        const onEvent: SessionOptions["onEvent"] = ({ payload }) => {
          if (payload["kind"] === "log" && ++seen === count) all()
        }
        const begin = performance.now()
        back = await open({ resume, onEvent })
        await within(30_000, replayed, () => `${seen} of ${count} events were replayed`)
        return { ms: performance.now() - begin }
      } finally {
        for (const session of [away, observer, back]) session?.close()
      }
    },
    ping: async ({ count }: { readonly count: number }) => {
      const times = new Float64Array(count)
      for (let n = 0; n < count; n++) times[n] = (await main.ping()) * 1000
      return { p50: quantile(times, 0.5), p99: quantile(times, 0.99) }
    },
    idle: ({ count }: { readonly count: number }) => inGroups(count, async () => void kept.push(await open())),
    /** Ends what `idle` has opened. */
    leave: () => {
      for (const session of kept.splice(0)) session.close()
    },
    /** Jobs that wait; answers when the runtime has accepted all. */
    waiting: async ({ count }: { readonly count: number }) => {
      const wait = () =>
        new Promise<string>((accepted, failed) => main.submit("sleep", { ms: 3_600_000 }, { accepted, failed }))
      await inGroups(count, async () => void (await wait()))
    },
    /** So many jobs that emit the time, in turns of their own: how long each event takes until it is read here. */
    tokens: async ({ millis, streams }: { readonly streams: number; readonly millis: number }) => {
      const gate = `raw tokens ${++gates}`
      const times: Array<number> = []
      const ends: Array<Promise<unknown>> = []
      const one = (seed: number) =>
        new Promise<string>((accepted, reject) => {
          const end = new Promise((ended, failed) => {
            const event: Watch["event"] = ({ payload: { body, kind } }) => {
              if (kind === "log") times.push(now() - Number(body.message))
            }
            main.submit("tokens", { gate, millis, seed }, { accepted, event, ended, failed })
          })
          end.catch(reject)
          ends.push(end)
        })
      // All are there before the first one emits.
      await Promise.all(Array.from({ length: streams }, (_, seed) => one(seed)))
      await ask("open", { gate })
      await Promise.all(ends)
      return latencies(times, streams)
    },
    /** Pings every 10 ms, each when the one before is answered, until it is told to stop. */
    startPings: () => {
      const waits: Array<number> = []
      const state = { stopped: false, waits, sentAt: 0, over: Promise.resolve() }
      const loop = async () => {
        while (!state.stopped) {
          state.sentAt = performance.now()
          waits.push(await main.ping())
          await new Promise((resolve) => setTimeout(resolve, 10))
        }
      }
      state.over = heeded(loop())
      pinging = state
    },
    /** The last ping's answer is waited for: it may be the longest. */
    stopPings: async () => {
      const state = pinging!
      state.stopped = true
      await state.over
      return { p50: quantile(state.waits, 0.5), p99: quantile(state.waits, 0.99), max: Math.max(...state.waits) }
    }
  }
}
