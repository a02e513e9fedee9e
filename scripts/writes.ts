/**
 * Foreign writes: changes of a field, made in another file than the one that declares the field. A field has one owner, the
 * file of its class or type; other files ask the owner by a method or a function.
 *
 * What counts as a field: a property of a class, of an interface, of a type literal or of an object literal, and a variable of a
 * module. What counts as a write: every form of assignment, `delete`, and every call that changes a collection in place. A
 * collection belongs to the field that holds it, under whatever name it is reached: a local constant, a destructured name, an
 * element of another collection, the parameter of a helper. A helper's change of its parameter counts where the helper is called.
 *
 * Pure: a program in, writes out. The type checker decides, not the text.
 */
import ts from "typescript"
import { walk } from "./syntax.js"

export interface Field {
  /** `class`: a property of a class. `record`: one of an interface, a type or an object literal. `variable`: one of a module. */
  readonly kind: "class" | "record" | "variable"
  /** The class, type or variable that has it; of a variable, the variable. */
  readonly owner: string
  readonly name: string
  /** The file that declares it, from the repository's root. */
  readonly path: string
}

export interface ForeignWrite {
  readonly path: string
  readonly line: number
  readonly column: number
  readonly field: Field
}

export interface WriteOptions {
  /** The path of a file from the repository's root, undefined for files that are none of the project's sources. */
  readonly pathOf: (file: ts.SourceFile) => string | undefined
  /** Whether the fields that a file declares have an owner. */
  readonly owns: (path: string) => boolean
}

/** `Owner.field`, or the name of a variable. */
export const fieldName = ({ kind, name, owner }: Field): string => (kind === "variable" ? name : `${owner}.${name}`)

const changingCalls = new Set([
  ...["push", "pop", "shift", "unshift", "splice", "sort", "reverse", "fill", "copyWithin"],
  ...["set", "add", "delete", "clear", "append"],
  ...["setTime", "setFullYear", "setMonth", "setDate", "setHours", "setMinutes", "setSeconds", "setMilliseconds"],
  ...["setUTCFullYear", "setUTCMonth", "setUTCDate", "setUTCHours", "setUTCMinutes", "setUTCSeconds"],
  ...["write", "setUint8", "setUint16", "setUint32", "setInt8", "setInt16", "setInt32", "setFloat64", "setBigUint64"]
])

/** Calls whose result is an element of the collection, or the collection itself: a change of the result is a change of it. */
const passingCalls = new Set([
  ...["get", "at", "find", "findLast", "shift", "pop", "values", "entries"],
  ...["set", "add", "sort", "reverse", "fill", "copyWithin"]
])

/** Calls that hand each element to a function. */
const visitingCalls = new Set(["forEach", "map", "flatMap", "filter", "some", "every", "find", "findLast"])

/** Functions that change their first argument, by the object or module that has them. */
const changingFunctions: Readonly<Record<string, RegExp>> = {
  Object: /^(assign|defineProperty|defineProperties|setPrototypeOf)$/,
  Reflect: /^(set|deleteProperty|defineProperty|setPrototypeOf)$/,
  Atomics: /^(store|add|sub|and|or|xor|exchange|compareExchange)$/
}

/** Modules of Effect whose values are changed in place by functions, and the functions that only read. */
const changingModule = /^effect\/(Mutable\w+|Ref|SynchronizedRef|SubscriptionRef)$/
const readingFunction =
  /^(get|has|head|tail|size|length|capacity|isEmpty|isFull|make|empty|bounded|unbounded|fromIterable|forEach)$/

/** Where the value of an expression is kept. */
type Place =
  | { readonly _tag: "declaration"; readonly declaration: ts.Declaration }
  /** The value of a parameter, or of a property of it. */
  | { readonly _tag: "parameter"; readonly parameter: ts.ParameterDeclaration; readonly property: string | undefined }

/** The expression without parentheses and without what only the type checker sees. */
const bare = (expression: ts.Expression): ts.Expression => {
  let at = expression
  while (
    ts.isParenthesizedExpression(at) ||
    ts.isNonNullExpression(at) ||
    ts.isAsExpression(at) ||
    ts.isSatisfiesExpression(at) ||
    ts.isTypeAssertionExpression(at)
  ) {
    at = at.expression
  }
  return at
}

type Access = ts.PropertyAccessExpression | ts.ElementAccessExpression

const isAccess = (node: ts.Node): node is Access =>
  ts.isPropertyAccessExpression(node) || ts.isElementAccessExpression(node)

/** The name of an access, where it is written down: `x.name`, `x["name"]`. */
const accessed = (access: Access): ts.Node | undefined =>
  ts.isPropertyAccessExpression(access)
    ? access.name
    : ts.isStringLiteralLike(access.argumentExpression)
      ? access.argumentExpression
      : undefined

const textOf = (name: ts.Node): string | undefined =>
  ts.isIdentifier(name) || ts.isPrivateIdentifier(name) || ts.isStringLiteralLike(name) || ts.isNumericLiteral(name)
    ? name.text
    : undefined

/** What an assignment's left side assigns: itself, or each target of a pattern. */
const targetsOf = (left: ts.Expression): ReadonlyArray<ts.Expression> => {
  const at = bare(left)
  if (ts.isBinaryExpression(at) && at.operatorToken.kind === ts.SyntaxKind.EqualsToken) return targetsOf(at.left)
  if (ts.isSpreadElement(at)) return targetsOf(at.expression)
  if (ts.isArrayLiteralExpression(at)) return at.elements.flatMap(targetsOf)
  if (!ts.isObjectLiteralExpression(at)) return [at]
  return at.properties.flatMap((property) =>
    ts.isPropertyAssignment(property)
      ? targetsOf(property.initializer)
      : ts.isSpreadAssignment(property)
        ? targetsOf(property.expression)
        : []
  )
}

const isAssignment = (kind: ts.SyntaxKind): boolean =>
  kind >= ts.SyntaxKind.FirstAssignment && kind <= ts.SyntaxKind.LastAssignment

/** What a node assigns, deletes, increments or decrements. */
const assigned = (node: ts.Node): ReadonlyArray<ts.Expression> => {
  if (ts.isBinaryExpression(node)) return isAssignment(node.operatorToken.kind) ? targetsOf(node.left) : []
  if (ts.isDeleteExpression(node)) return [bare(node.expression)]
  if (ts.isPostfixUnaryExpression(node)) return [bare(node.operand)]
  if (ts.isPrefixUnaryExpression(node)) {
    const changes = node.operator === ts.SyntaxKind.PlusPlusToken || node.operator === ts.SyntaxKind.MinusMinusToken
    return changes ? [bare(node.operand)] : []
  }
  if (ts.isForOfStatement(node) || ts.isForInStatement(node)) {
    return ts.isVariableDeclarationList(node.initializer) ? [] : targetsOf(node.initializer)
  }
  return []
}

/** The name of what can have fields: a class, an interface, a type, a variable, a property, a function. */
const holderName = (node: ts.Node): string | undefined => {
  if (
    ts.isClassLike(node) ||
    ts.isInterfaceDeclaration(node) ||
    ts.isTypeAliasDeclaration(node) ||
    ts.isVariableDeclaration(node) ||
    ts.isFunctionDeclaration(node) ||
    ts.isPropertyAssignment(node) ||
    ts.isPropertySignature(node) ||
    ts.isPropertyDeclaration(node) ||
    ts.isMethodDeclaration(node)
  ) {
    return node.name === undefined ? undefined : textOf(node.name)
  }
  return undefined
}

/** The nearest name around a declaration. */
const ownerOf = (declaration: ts.Node): string => {
  for (let at = declaration.parent; at !== undefined; at = at.parent) {
    const name = holderName(at)
    if (name !== undefined) return name
  }
  return "(unnamed)"
}

const kindOf = (declaration: ts.Declaration): Field["kind"] | undefined => {
  if (ts.isVariableDeclaration(declaration)) return "variable"
  if (ts.isParameter(declaration)) {
    return ts.isParameterPropertyDeclaration(declaration, declaration.parent) ? "class" : undefined
  }
  if (
    ts.isPropertyDeclaration(declaration) ||
    ts.isAccessor(declaration) ||
    ts.isPropertySignature(declaration) ||
    ts.isMethodSignature(declaration) ||
    ts.isMethodDeclaration(declaration) ||
    ts.isPropertyAssignment(declaration) ||
    ts.isShorthandPropertyAssignment(declaration)
  ) {
    return ts.isClassLike(declaration.parent) ? "class" : "record"
  }
  return undefined
}

/** The function-like node that a name stands for, where the name is declared as one. */
const functionOf = (declaration: ts.Declaration | undefined): ts.SignatureDeclaration | undefined => {
  if (declaration === undefined) return undefined
  if (ts.isFunctionDeclaration(declaration) || ts.isMethodDeclaration(declaration)) return declaration
  if (
    (ts.isVariableDeclaration(declaration) ||
      ts.isPropertyAssignment(declaration) ||
      ts.isPropertyDeclaration(declaration)) &&
    declaration.initializer !== undefined
  ) {
    const value = bare(declaration.initializer)
    if (ts.isArrowFunction(value) || ts.isFunctionExpression(value)) return value
  }
  return undefined
}

/** What a function returns, as expressions. */
const returned = (of: ts.SignatureDeclaration): ReadonlyArray<ts.Expression> => {
  const body = "body" in of ? of.body : undefined
  if (body === undefined) return []
  if (!ts.isBlock(body)) return [body as ts.Expression]
  const found: Array<ts.Expression> = []
  const visit = (node: ts.Node): void => {
    if (ts.isFunctionLike(node)) return
    if (ts.isReturnStatement(node) && node.expression !== undefined) found.push(node.expression)
    ts.forEachChild(node, visit)
  }
  visit(body)
  return found
}

class Search {
  readonly found: Array<ForeignWrite> = []
  /** Calls, by the last name of what is called. */
  private readonly calls = new Map<string, Array<ts.CallExpression | ts.NewExpression>>()
  private readonly seenWrites = new Set<string>()
  private readonly seenEffects = new Map<ts.ParameterDeclaration, Set<string | undefined>>()
  private readonly effects: Array<{
    readonly parameter: ts.ParameterDeclaration
    readonly property: string | undefined
  }> = []
  private readonly checker: ts.TypeChecker
  private readonly options: WriteOptions

  constructor(checker: ts.TypeChecker, options: WriteOptions) {
    this.checker = checker
    this.options = options
  }

  read(file: ts.SourceFile): void {
    walk(file, (node) => {
      for (const target of assigned(node)) this.assign(target)
      if (ts.isCallExpression(node) || ts.isNewExpression(node)) {
        const name = this.nameCalled(node.expression)
        if (name !== undefined) {
          const named = this.calls.get(name)
          if (named === undefined) this.calls.set(name, [node])
          else named.push(node)
        }
      }
      if (ts.isCallExpression(node)) this.call(node)
    })
  }

  /** A helper that changes its parameter changes what each call hands to it. */
  followParameters(): void {
    for (let effect = this.effects.shift(); effect !== undefined; effect = this.effects.shift()) {
      const { parameter, property } = effect
      const helper = parameter.parent
      const at = helper.parameters.indexOf(parameter)
      for (const call of this.callsOf(helper)) {
        const argument = call.arguments?.[at]
        if (argument === undefined || ts.isSpreadElement(argument)) continue
        if (property === undefined) this.change(argument, call)
        else this.changeProperty(argument, property, call, this.propertyOf(parameter, property))
      }
    }
  }

  private nameCalled(callee: ts.Expression): string | undefined {
    const at = bare(callee)
    return ts.isIdentifier(at) ? at.text : isAccess(at) ? textOf(accessed(at) ?? at) : undefined
  }

  private callsOf(helper: ts.SignatureDeclaration): ReadonlyArray<ts.CallExpression | ts.NewExpression> {
    const named = ts.isConstructorDeclaration(helper) ? helper.parent : helper
    let holder: ts.Node = named
    if (ts.isArrowFunction(named) || ts.isFunctionExpression(named)) {
      for (holder = named.parent; ts.isExpression(holder) && bare(holder) === named; holder = holder.parent);
    }
    const nameNode = "name" in holder ? (holder.name as ts.Node | undefined) : undefined
    const name = nameNode === undefined ? undefined : textOf(nameNode)
    if (name === undefined) return []
    return [name, ...(this.renamed.get(name) ?? [])]
      .flatMap((known) => this.calls.get(known) ?? [])
      .filter((call) => {
        const symbol = this.resolved(this.symbolOf(call.expression))
        return symbol?.declarations?.some((declaration) => declaration === holder) === true
      })
  }

  /** The names under which files import a name. */
  private readonly renamed = new Map<string, Set<string>>()

  /** What a variable is assigned after its declaration. */
  private readonly assignedLater = new Map<ts.Declaration, Array<ts.Expression>>()

  rememberNames(file: ts.SourceFile): void {
    walk(file, (node) => {
      if (ts.isBinaryExpression(node) && isAssignment(node.operatorToken.kind) && ts.isIdentifier(node.left)) {
        const declaration = this.checker.getSymbolAtLocation(node.left)?.valueDeclaration
        if (declaration !== undefined) {
          this.assignedLater.set(declaration, [...(this.assignedLater.get(declaration) ?? []), node.right])
        }
      }
      if (!ts.isImportSpecifier(node) && !ts.isExportSpecifier(node)) return
      if (node.propertyName === undefined) return
      const from = node.propertyName.text
      this.renamed.set(from, (this.renamed.get(from) ?? new Set()).add(node.name.text))
    })
  }

  private symbolOf(expression: ts.Expression): ts.Symbol | undefined {
    const at = bare(expression)
    return this.checker.getSymbolAtLocation(isAccess(at) ? (accessed(at) ?? at) : at)
  }

  private resolved(symbol: ts.Symbol | undefined): ts.Symbol | undefined {
    return symbol !== undefined && (symbol.flags & ts.SymbolFlags.Alias) !== 0
      ? this.checker.getAliasedSymbol(symbol)
      : symbol
  }

  private isOurs(declaration: ts.Declaration): boolean {
    return this.options.pathOf(declaration.getSourceFile()) !== undefined
  }

  /** Declared by the platform: a collection, a date, a buffer. */
  private isPlatforms(symbol: ts.Symbol | undefined): boolean {
    return symbol?.declarations?.some((declaration) => !this.isOurs(declaration)) === true
  }

  /** The field that a declaration of our own is. */
  private fieldOf(declaration: ts.Declaration): Field | undefined {
    const path = this.options.pathOf(declaration.getSourceFile())
    const kind = kindOf(declaration)
    const nameNode = ts.getNameOfDeclaration(declaration)
    const name = nameNode === undefined ? undefined : textOf(nameNode)
    if (path === undefined || kind === undefined || name === undefined || !this.options.owns(path)) return undefined
    return { kind, owner: kind === "variable" ? name : ownerOf(declaration), name, path }
  }

  private report(declaration: ts.Declaration, node: ts.Node): void {
    const file = node.getSourceFile()
    const path = this.options.pathOf(file)
    const field = this.fieldOf(declaration)
    if (path === undefined || field === undefined || field.path === path) return
    const start = node.getStart(file)
    // One act is one write, however many declarations it reaches (a union's) and however it is found.
    const key = `${path}:${start}:${field.name}`
    if (this.seenWrites.has(key)) return
    this.seenWrites.add(key)
    const { character, line } = file.getLineAndCharacterOfPosition(start)
    this.found.push({ path, line: line + 1, column: character + 1, field })
  }

  private note(parameter: ts.ParameterDeclaration, property: string | undefined): void {
    if (parameter.dotDotDotToken !== undefined) return
    const seen = this.seenEffects.get(parameter) ?? new Set()
    if (seen.has(property)) return
    this.seenEffects.set(parameter, seen.add(property))
    this.effects.push({ parameter, property })
  }

  /** An object that was made in place, with a type of its own: a copy, or what a pattern leaves over. No other file has it. */
  private isCopy(expression: ts.Expression): boolean {
    const at = bare(expression)
    const declaration = ts.isIdentifier(at) ? this.checker.getSymbolAtLocation(at)?.valueDeclaration : undefined
    if (declaration === undefined) return false
    if (ts.isBindingElement(declaration)) return declaration.dotDotDotToken !== undefined
    if (!ts.isVariableDeclaration(declaration) || declaration.type !== undefined) return false
    return declaration.initializer !== undefined && ts.isObjectLiteralExpression(declaration.initializer)
  }

  private assign(target: ts.Expression): void {
    if (!isAccess(target) || this.isCopy(target.expression)) return
    const name = accessed(target)
    const declarations = this.declarationsOf(target)
    if (declarations.some((declaration) => this.isOurs(declaration))) {
      for (const declaration of declarations) this.report(declaration, target)
      const parameter = this.parameterOf(target.expression)
      if (parameter !== undefined && name !== undefined) this.note(parameter, textOf(name))
    } else {
      this.change(target.expression, target)
    }
  }

  /** The declarations of the property that is accessed, by the type of its object and by every type that the object is known by. */
  private declarationsOf(access: Access): ReadonlyArray<ts.Declaration> {
    const name = accessed(access)
    if (name === undefined) return []
    const text = textOf(name)
    const found = new Set(this.checker.getSymbolAtLocation(name)?.declarations)
    if (text !== undefined) for (const declaration of this.propertyOf(access.expression, text)) found.add(declaration)
    return [...found]
  }

  private propertyOf(object: ts.Expression | ts.ParameterDeclaration, name: string): ReadonlyArray<ts.Declaration> {
    const found = new Set<ts.Declaration>()
    for (const view of ts.isParameter(object) ? [object] : this.viewsOf(object)) {
      const type = this.checker.getNonNullableType(this.checker.getTypeAtLocation(view))
      for (const part of type.isUnion() ? type.types : [type]) {
        for (const declaration of this.checker.getPropertyOfType(part, name)?.declarations ?? []) found.add(declaration)
      }
    }
    return [...found]
  }

  /** An expression, and what a constant or an assertion hides of it: another type of the same object. */
  private viewsOf(expression: ts.Expression): ReadonlyArray<ts.Expression> {
    const views: Array<ts.Expression> = [expression]
    for (let depth = 0; depth < 8; depth++) {
      const at = bare(views[views.length - 1]!)
      if (at !== views[views.length - 1]) views.push(at)
      const declaration = ts.isIdentifier(at) ? this.checker.getSymbolAtLocation(at)?.valueDeclaration : undefined
      if (declaration === undefined || !ts.isVariableDeclaration(declaration)) break
      if (declaration.initializer === undefined || !ts.isIdentifier(declaration.name)) break
      views.push(declaration.initializer)
    }
    return views
  }

  private parameterOf(expression: ts.Expression): ts.ParameterDeclaration | undefined {
    for (const view of this.viewsOf(expression)) {
      const at = bare(view)
      const declaration = ts.isIdentifier(at) ? this.checker.getSymbolAtLocation(at)?.valueDeclaration : undefined
      if (declaration !== undefined && ts.isParameter(declaration)) return declaration
    }
    return undefined
  }

  private call(node: ts.CallExpression): void {
    const callee = bare(node.expression)
    if (!isAccess(callee)) return
    const name = textOf(accessed(callee) ?? callee)
    if (name === undefined) return
    const [first] = node.arguments
    if (changingCalls.has(name)) {
      if (this.isPlatforms(this.symbolOf(callee))) this.change(callee.expression, node)
    } else if (name === "call" || name === "apply" || name === "bind") {
      const method = bare(callee.expression)
      const changes = isAccess(method) && changingCalls.has(textOf(accessed(method) ?? method) ?? "")
      if (changes && first !== undefined && this.isPlatforms(this.symbolOf(method))) this.change(first, node)
    }
    if (first === undefined || !ts.isIdentifier(bare(callee.expression))) return
    const holder = bare(callee.expression) as ts.Identifier
    if (changingFunctions[holder.text]?.test(name) === true) this.changeBy(node, first, name)
    else if (this.isChangingModule(holder) && !readingFunction.test(name)) this.change(first, node)
  }

  private isChangingModule(holder: ts.Identifier): boolean {
    const declaration = this.checker.getSymbolAtLocation(holder)?.declarations?.[0]
    if (declaration === undefined || !ts.isNamespaceImport(declaration)) return false
    const { moduleSpecifier } = declaration.parent.parent
    return ts.isStringLiteral(moduleSpecifier) && changingModule.test(moduleSpecifier.text)
  }

  /** `Object.assign(object, patch)` and its kin: writes of the properties that are named, or of the object as a whole. */
  private changeBy(node: ts.CallExpression, object: ts.Expression, name: string): void {
    const second = node.arguments[1]
    const names: Array<string> = []
    if (second !== undefined && ts.isStringLiteralLike(second)) names.push(second.text)
    else if (name === "assign" || name === "defineProperties") {
      for (const patch of node.arguments.slice(1)) {
        for (const property of this.checker.getTypeAtLocation(patch).getProperties()) names.push(property.name)
      }
    }
    if (names.length === 0) this.change(object, node)
    for (const property of names) this.changeProperty(object, property, node)
  }

  /** `known`: declarations that a helper names itself. A write of those counts in the helper, not where it is called. */
  private changeProperty(
    object: ts.Expression,
    property: string,
    node: ts.Node,
    known: ReadonlyArray<ts.Declaration> = []
  ): void {
    const declarations = this.propertyOf(object, property)
    for (const declaration of declarations) if (!known.includes(declaration)) this.report(declaration, node)
    const parameter = this.parameterOf(object)
    if (parameter !== undefined) this.note(parameter, property)
    if (!declarations.some((declaration) => this.isOurs(declaration))) this.change(object, node)
  }

  /** The value of an expression is changed in place: a write of the field that holds it. */
  private change(expression: ts.Expression, node: ts.Node): void {
    for (const place of this.placesOf(expression, 0)) {
      if (place._tag === "declaration") this.report(place.declaration, node)
      else this.note(place.parameter, place.property)
    }
  }

  private placesOf(expression: ts.Expression, depth: number): ReadonlyArray<Place> {
    if (depth > 12) return []
    const at = bare(expression)
    const next = (of: ts.Expression) => this.placesOf(of, depth + 1)
    if (ts.isConditionalExpression(at)) return [...next(at.whenTrue), ...next(at.whenFalse)]
    if (ts.isBinaryExpression(at)) {
      const kind = at.operatorToken.kind
      if (kind === ts.SyntaxKind.CommaToken) return next(at.right)
      const either =
        isAssignment(kind) ||
        kind === ts.SyntaxKind.BarBarToken ||
        kind === ts.SyntaxKind.QuestionQuestionToken ||
        kind === ts.SyntaxKind.AmpersandAmpersandToken
      return either ? [...next(at.left), ...next(at.right)] : []
    }
    if (isAccess(at)) return this.placesOfAccess(at, depth)
    if (ts.isCallExpression(at)) return this.placesOfCall(at, depth)
    if (ts.isIdentifier(at)) return this.placesOfName(at, depth)
    return []
  }

  private placesOfAccess(access: Access, depth: number): ReadonlyArray<Place> {
    const declarations = this.declarationsOf(access).filter((declaration) => this.isOurs(declaration))
    const name = accessed(access)
    if (declarations.length === 0) return this.placesOf(access.expression, depth + 1)
    const places: Array<Place> = declarations.map((declaration) => ({ _tag: "declaration", declaration }))
    // A field that is made with the collection of another one shares it.
    for (const declaration of declarations) {
      if (!ts.isPropertyAssignment(declaration) && !ts.isPropertyDeclaration(declaration)) continue
      if (declaration.initializer !== undefined) places.push(...this.placesOf(declaration.initializer, depth + 1))
    }
    const parameter = this.parameterOf(access.expression)
    if (parameter !== undefined && name !== undefined) {
      places.push({ _tag: "parameter", parameter, property: textOf(name) })
    }
    return places
  }

  private placesOfCall(call: ts.CallExpression, depth: number): ReadonlyArray<Place> {
    const callee = bare(call.expression)
    const symbol = this.resolved(this.symbolOf(callee))
    if (isAccess(callee) && this.isPlatforms(symbol)) {
      const name = textOf(accessed(callee) ?? callee)
      return name !== undefined && passingCalls.has(name) ? this.placesOf(callee.expression, depth + 1) : []
    }
    const called = functionOf(symbol?.valueDeclaration)
    if (called === undefined || !this.isOurs(called)) return []
    return returned(called)
      .flatMap((expression) => this.placesOf(expression, depth + 1))
      .filter(({ _tag }) => _tag === "declaration")
  }

  private placesOfName(name: ts.Identifier, depth: number): ReadonlyArray<Place> {
    const declaration = this.resolved(this.checker.getSymbolAtLocation(name))?.valueDeclaration
    if (declaration === undefined || !this.isOurs(declaration)) return []
    if (ts.isParameter(declaration)) return this.placesOfParameter(declaration, depth)
    if (ts.isBindingElement(declaration)) return this.placesOfElement(declaration, depth)
    if (!ts.isVariableDeclaration(declaration)) return []
    const list = declaration.parent
    if (!ts.isVariableDeclarationList(list)) return []
    if (ts.isForOfStatement(list.parent)) return this.placesOf(list.parent.expression, depth + 1)
    const values = [...(this.assignedLater.get(declaration) ?? [])]
    if (declaration.initializer !== undefined) values.push(declaration.initializer)
    const ofValue = values.flatMap((value) => this.placesOf(value, depth + 1))
    const inModule = ts.isVariableStatement(list.parent) && ts.isSourceFile(list.parent.parent)
    return inModule ? [...ofValue, { _tag: "declaration", declaration }] : ofValue
  }

  private placesOfParameter(parameter: ts.ParameterDeclaration, depth: number): ReadonlyArray<Place> {
    const places: Array<Place> = [{ _tag: "parameter", parameter, property: undefined }]
    const call = parameter.parent.parent
    if (!ts.isCallExpression(call) || !call.arguments.some((argument) => argument === parameter.parent)) return places
    const callee = bare(call.expression)
    if (!isAccess(callee) || !visitingCalls.has(textOf(accessed(callee) ?? callee) ?? "")) return places
    return this.isPlatforms(this.symbolOf(callee)) ? this.placesOf(callee.expression, depth + 1) : places
  }

  /** A name that a pattern takes out of an object or a collection. */
  private placesOfElement(element: ts.BindingElement, depth: number): ReadonlyArray<Place> {
    const pattern = element.parent
    const holder = pattern.parent
    const key = textOf(element.propertyName ?? element.name)
    const outer = (): ReadonlyArray<Place> => {
      if (ts.isBindingElement(holder)) return this.placesOfElement(holder, depth + 1)
      if (ts.isParameter(holder)) return this.placesOfParameter(holder, depth + 1)
      if (ts.isForOfStatement(holder.parent.parent)) return this.placesOf(holder.parent.parent.expression, depth + 1)
      return holder.initializer === undefined ? [] : this.placesOf(holder.initializer, depth + 1)
    }
    if (ts.isArrayBindingPattern(pattern)) return element.dotDotDotToken === undefined ? outer() : []
    if (key === undefined || element.dotDotDotToken !== undefined) return []
    const type = this.checker.getNonNullableType(this.checker.getTypeAtLocation(pattern))
    const declarations = new Set(this.checker.getPropertyOfType(type, key)?.declarations)
    if (!ts.isBindingElement(holder) && holder.initializer !== undefined) {
      for (const declaration of this.propertyOf(holder.initializer, key)) declarations.add(declaration)
    }
    const ours = [...declarations].filter((declaration) => this.isOurs(declaration))
    if (ours.length === 0) return outer()
    const places: Array<Place> = ours.map((declaration) => ({ _tag: "declaration", declaration }))
    if (ts.isParameter(holder)) places.push({ _tag: "parameter", parameter: holder, property: key })
    return places
  }
}

/** Every write of a field of an owner that is made in another file, in the order of the files. */
export const findForeignWrites = (program: ts.Program, options: WriteOptions): ReadonlyArray<ForeignWrite> => {
  const search = new Search(program.getTypeChecker(), options)
  const files = program.getSourceFiles().filter((file) => options.pathOf(file) !== undefined)
  for (const file of files) search.rememberNames(file)
  for (const file of files) search.read(file)
  search.followParameters()
  return search.found.sort((a, b) =>
    a.path < b.path ? -1 : a.path > b.path ? 1 : a.line - b.line || a.column - b.column
  )
}
