/**
 * Another ARCP runtime, at a URL, driven by the raw client. It may lack an agent or a feature, refuse, close or hang: each is a
 * figure that is missing, never the end of the benchmark. Each run has a bound of time, and after each failure the client is a new
 * one, so that nothing of the failure is left; a peer that no session can be had with, or that exceeds its time twice, is given up.
 */
import { reasonOf } from "./measure.js"
import { type Backend, Program } from "./processes.js"
import { cpuOf, listenerAt, rssOf } from "./proc.js"
import { within } from "./stats.js"
import { token } from "./tokens.js"

const usage = "a peer is given as NAME=URL or NAME=URL,TOKEN, with a ws:// or wss:// URL"

/** Names that the table has already. */
const taken: ReadonlySet<string> = new Set(["floor", "memory", "sqlite"])

/** Milliseconds for a connection and its handshake. */
const connectTime = 12_000
/** So often a peer may exceed its time. */
const patience = 2

const loopback: ReadonlySet<string> = new Set(["127.0.0.1", "localhost", "[::1]"])

export class Peer implements Backend {
  readonly name: string
  private readonly url: URL
  private readonly token: string
  private readonly millis: number
  private client: Program | undefined
  private late = 0
  private lost: string | undefined

  /** `NAME=URL[,TOKEN]`, and how long one of its runs may take. Throws where the text is no such thing. */
  constructor(text: string, millis: number) {
    const parts = /^([\w.-]+)=(wss?:\/\/[^,]+)(?:,(.+))?$/.exec(text)
    if (parts === null || !URL.canParse(parts[2]!)) throw new Error(`--peer ${text}: ${usage}`)
    if (taken.has(parts[1]!)) throw new Error(`--peer ${text}: ${parts[1]} is a column of the table already`)
    this.name = parts[1]!
    this.url = new URL(parts[2]!)
    this.token = parts[3] ?? token
    this.millis = millis
  }

  readonly run = async <A>(task: string, args: object = {}): Promise<A> => {
    if (this.lost !== undefined) throw new Error(this.lost)
    const client = this.client ?? (await this.connect())
    let timedOut = false
    try {
      return await within(this.millis, client.channel.call<A>("run", { task, args }), () => {
        timedOut = true
        return "it did not end"
      })
    } catch (error) {
      await this.stop()
      if (timedOut && ++this.late >= patience)
        this.lost = `it did not end within ${this.millis / 1000} s, ${patience} times`
      throw error
    }
  }

  readonly server = (): Promise<never> => Promise.reject(new Error("a peer's process takes no orders"))

  readonly cpu = (): Promise<number | undefined> => this.seen(cpuOf)

  readonly rss = (): Promise<number | undefined> => this.seen(rssOf)

  readonly stop = async (): Promise<void> => {
    const client = this.client
    this.client = undefined
    await client?.kill()
  }

  private async connect(): Promise<Program> {
    const client = (this.client = new Program("client", this.name, undefined))
    try {
      await within(
        Math.min(connectTime, this.millis),
        client.start({ kind: "raw", url: this.url.href, token: this.token }),
        () => "no session"
      )
      return client
    } catch (error) {
      await this.stop()
      this.lost = reasonOf(error)
      throw error
    }
  }

  private seen(what: (pid: number) => number | undefined): Promise<number | undefined> {
    const port = Number(this.url.port) || (this.url.protocol === "wss:" ? 443 : 80)
    const pid = loopback.has(this.url.hostname) ? listenerAt(port) : undefined
    return Promise.resolve(pid === undefined ? undefined : what(pid))
  }
}
