/** Where the rule of an example is in the sources: as the build will have it, without a build. */
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import ts from "typescript"
import type { Broken } from "./rules.js"

/** How the sources under a root are compiled. The build's own options name modules by the package, which is one of ES modules. */
const optionsOf = (root: string): ts.CompilerOptions => {
  const { compilerOptions } = ts.readConfigFile(join(root, "tsconfig.json"), ts.sys.readFile).config as {
    readonly compilerOptions: object
  }
  return ts.convertCompilerOptionsFromJson(compilerOptions, root).options
}

/** What is wrong with the place of a rule: its text must be in what the compiler makes of one source, once. Undefined: nothing is. */
export const misplaced = (root: string, { file, from }: Broken): string | undefined => {
  const source = file.replace(/^dist\//, "src/").replace(/\.js$/, ".ts")
  if (!existsSync(join(root, source))) return `there is no ${source}`
  const { outputText } = ts.transpileModule(readFileSync(join(root, source), "utf8"), {
    compilerOptions: optionsOf(root),
    fileName: source
  })
  return outputText.split(from).length === 2 ? undefined : `${file} does not have this exactly once: ${from}`
}
