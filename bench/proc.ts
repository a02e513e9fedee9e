/**
 * What Linux says of a process: its processor time, its memory, and which one listens at a port. Elsewhere, and of a process of
 * another user, it says nothing.
 */
import { readdirSync, readFileSync, readlinkSync } from "node:fs"

const quietly = <A>(read: () => A): A | undefined => {
  try {
    return read()
  } catch {
    return undefined
  }
}

/** Microseconds of processor time of all threads that a process has, those of its garbage collector included. */
export const cpuOf = (pid: number): number | undefined =>
  quietly(() => {
    let nanos = 0
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      // A thread may have ended since.
      const text = quietly(() => readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8"))
      if (text !== undefined) nanos += Number(text.split(" ")[0])
    }
    return nanos === 0 ? undefined : nanos / 1000
  })

/** Bytes of memory that a process has. */
export const rssOf = (pid: number): number | undefined =>
  quietly(() => Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]) * 1024)

/** Whether the process has the open file that a link of `/proc` names so. */
const holds = (pid: string, name: string): boolean => {
  const folder = `/proc/${pid}/fd`
  return (quietly(() => readdirSync(folder)) ?? []).some(
    (file) => quietly(() => readlinkSync(`${folder}/${file}`)) === name
  )
}

/** The process that listens at a port of this machine. */
export const listenerAt = (port: number): number | undefined =>
  quietly(() => {
    const hex = `:${port.toString(16).toUpperCase().padStart(4, "0")}`
    const rows = ["tcp", "tcp6"].flatMap((table) =>
      (quietly(() => readFileSync(`/proc/net/${table}`, "utf8")) ?? "")
        .split("\n")
        .map((row) => row.trim().split(/\s+/))
    )
    // The fourth column is the state, 0A is LISTEN; the tenth is the socket's inode.
    const row = rows.find((columns) => columns[1]?.endsWith(hex) === true && columns[3] === "0A")
    if (row === undefined) return undefined
    const pid = readdirSync("/proc").find((name) => /^\d+$/.test(name) && holds(name, `socket:[${row[9]}]`))
    return pid === undefined ? undefined : Number(pid)
  })
