import { runLane } from "./fuzz/lane.js"
import { runtimeLane } from "./fuzz/runtimeLane.js"
const o = await runLane(
  runtimeLane({
    transport: (process.argv[2] ?? "memory") as "memory",
    store: (process.argv[3] ?? "memory") as "memory"
  }),
  {
    seed: 1,
    from: 0,
    step: 1,
    frames: Number(process.argv[4] ?? 50_000),
    millis: 60_000,
    rest: 50_000,
    begins: () => undefined
  }
)
console.log(o, process.cpuUsage().user / o.frames, (o.frames / o.millis) * 1000)
process.exit(0)
