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
const { run } = await import("./run.js")
run(argv)
