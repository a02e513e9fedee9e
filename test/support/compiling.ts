/** What TypeScript's compiler says of some files, with turns of the event loop between them: a worker that is silent for a minute counts as lost. */
import type ts from "typescript"

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** The problems of each file, as `say` tells them. `program` is made in a step of its own. */
export const problemsOfFiles = async (
  program: () => ts.Program,
  paths: ReadonlyArray<string>,
  say: (problem: ts.Diagnostic, file: ts.SourceFile, path: string) => string
): Promise<ReadonlyArray<string>> => {
  await turn()
  const made = program()
  const problems: Array<string> = []
  for (const path of paths) {
    await turn()
    const file = made.getSourceFile(path)!
    for (const problem of [...made.getSyntacticDiagnostics(file), ...made.getSemanticDiagnostics(file)])
      problems.push(say(problem, file, path))
  }
  return problems
}
