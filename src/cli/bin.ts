#!/usr/bin/env node
/**
 * The executable. Every user of a machine can list the command lines of its processes, and `--token` is on this one: the title
 * overwrites it, and `process.argv` forgets it, before anything else of the program is loaded.
 */
const argv = [...process.argv]
const command = argv[2]
process.title = command === "serve" || command === "submit" || command === "version" ? `arcp ${command}` : "arcp"
process.argv.splice(2)

// edge: only now, so that no command line is left while the rest loads
const program = await import("./run.js").catch(async (cause: unknown) => {
  // edge: Effect itself may be what is not installed
  const { missing, needed } = await import("./peers.js")
  const message = missing(cause, needed)
  // edge: Node reports it, and ends the process
  if (message === undefined) throw cause
  process.stderr.write(`arcp: ${message}\n`)
  process.exitCode = 2
  return undefined
})
program?.run(argv)
