/** What the rules over sources share: walking a syntax tree, and which modules it names. */
import { posix as Path } from "node:path"
import ts from "typescript"

/** Visits a node and all below it, parents first. */
export const walk = (node: ts.Node, visit: (node: ts.Node) => void): void => {
  visit(node)
  ts.forEachChild(node, (child) => walk(child, visit))
}

/** The literal that names a module, for every way to name one; `null` where it is an expression. */
export const moduleNamed = (node: ts.Node): ts.Expression | null | undefined => {
  if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) return node.moduleSpecifier
  if (ts.isImportEqualsDeclaration(node)) {
    return ts.isExternalModuleReference(node.moduleReference) ? node.moduleReference.expression : undefined
  }
  if (ts.isImportTypeNode(node)) {
    return ts.isLiteralTypeNode(node.argument) ? (node.argument.literal as ts.Expression) : null
  }
  if (!ts.isCallExpression(node)) return undefined
  const isImport =
    node.expression.kind === ts.SyntaxKind.ImportKeyword ||
    (ts.isIdentifier(node.expression) && node.expression.text === "require")
  return isImport ? (node.arguments[0] ?? null) : undefined
}

/** The source that a specifier names in a file; undefined where it names a package. */
export const sourceNamed = (path: string, specifier: string): string | undefined =>
  /^\.{1,2}(\/|$)/.test(specifier) ? Path.join(Path.dirname(path), specifier).replace(/\.js$/, ".ts") : undefined
