/** CPU profiles from when a process is ready until it ends: what loading costs is another question. */
import { writeFileSync } from "node:fs"
import { type Profiler, Session } from "node:inspector"

let session: Session | undefined

/** Starts sampling. */
export const startProfile = (): void => {
  session = new Session()
  session.connect()
  session.post("Profiler.enable")
  session.post("Profiler.start")
}

/** Writes what has been sampled, where something has. */
export const writeProfile = (file: string): Promise<void> =>
  new Promise((resolve, reject) => {
    if (session === undefined) return resolve()
    session.post("Profiler.stop", (error: Error | null, result: Profiler.StopReturnType | undefined) => {
      if (error !== null) return reject(error)
      writeFileSync(file, JSON.stringify(result?.profile))
      resolve()
    })
  })
