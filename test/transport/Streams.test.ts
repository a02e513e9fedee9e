import { suite } from "./suite.js"
import { asItIs, overLines, rechunked, slow } from "./streamPairs.js"
suite({ name: "streams", layer: () => overLines(asItIs), testClock: false, codes: true })
suite({ name: "streams that are cut anywhere", layer: () => overLines(rechunked), testClock: false, codes: true })
suite({ name: "streams with a slow Sink", layer: () => overLines(slow), testClock: false, codes: true })
