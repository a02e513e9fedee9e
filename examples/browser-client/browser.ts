/** Where the page runs: in a headless Chromium, or in a realm of Node's that has a browser's globals and none of Node's. */
import { spawn } from "node:child_process"
import { existsSync } from "node:fs"
import { delimiter, join } from "node:path"
import { createContext, runInContext } from "node:vm"
import { Console, Effect } from "effect"
import { WebSocket } from "ws"

/** The Chromium that is installed, or that `CHROME_PATH` names. */
const chromium = (): string | undefined => {
  const folders = (process.env.PATH ?? "").split(delimiter)
  const names = ["chromium", "chromium-browser", "google-chrome"]
  const found = names.flatMap((name) => folders.map((folder) => join(folder, name)))
  return (process.env.CHROME_PATH === undefined ? found : [process.env.CHROME_PATH]).find((path) => existsSync(path))
}

/** Opens the page until the scope ends, when it and all of its processes are ended too. */
const inChromium = (path: string, url: string, profile: string) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const flags = ["--headless=new", "--no-sandbox", "--no-first-run", "--disable-gpu", "--disable-dev-shm-usage"]
      return spawn(path, [...flags, `--user-data-dir=${profile}`, url], { detached: true, stdio: "ignore" })
    }),
    (child) =>
      Effect.async<void>((resume) => {
        child.once("exit", () => resume(Effect.void))
        // the whole group: a browser is many processes
        if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) resume(Effect.void)
        else process.kill(-child.pid, "SIGKILL")
      })
  )

const inRealm = (script: string, url: string) =>
  Effect.sync(() => {
    const realm = {
      ...{ WebSocket, fetch, crypto, performance, TextEncoder, TextDecoder, URL, URLSearchParams, AbortController },
      ...{ setTimeout, clearTimeout, setInterval, clearInterval, queueMicrotask, atob, btoa, console },
      location: { href: url },
      navigator: { userAgent: "a realm of Node with a browser's globals" }
    }
    runInContext(script, createContext(realm))
  })

/** Runs the page, whose script this is, until the scope ends, and says where. */
export const open = (url: string, script: string, profile: string) =>
  Effect.gen(function* () {
    const path = chromium()
    if (path === undefined) {
      yield* Console.log("no Chromium is installed: a realm of Node runs the page")
      return yield* inRealm(script, url)
    }
    const browser = yield* inChromium(path, url, profile)
    yield* Console.log(`${path} runs the page`)
    const ends = Effect.async<void>((resume) => {
      for (const event of ["exit", "error"]) browser.once(event, () => resume(Effect.void))
    })
    const instead = Effect.zipRight(Console.log("  it cannot: a realm of Node does"), inRealm(script, url))
    yield* Effect.forkScoped(Effect.zipRight(ends, instead))
  })
