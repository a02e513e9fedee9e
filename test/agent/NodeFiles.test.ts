import { describe } from "@effect/vitest"
import { NodeFiles } from "../../src/agent/node.js"
import { fileSystemRules } from "./fileSystemRules.js"
import { isLinux } from "./trees.js"

describe.skipIf(!isLinux)("on Linux", () => {
  fileSystemRules("NodeFiles", NodeFiles.make)
})
