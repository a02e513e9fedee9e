import { GuardedFileSystem } from "../../src/agent/index.js"
import { fileSystemRules } from "./fileSystemRules.js"

fileSystemRules("GuardedFileSystem", GuardedFileSystem.make)
