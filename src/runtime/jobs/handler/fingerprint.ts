/**
 * What a Schema's encoded side looks like, as one short text: two Schemas that write the same JSON have the same fingerprint,
 * whatever they are called and whatever they decode to.
 */
import type * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"
import { sha256 } from "../../kernel/Hash.js"

const print = (ast: SchemaAST.AST, above: ReadonlyMap<SchemaAST.AST, number>): string => {
  switch (ast._tag) {
    case "Literal":
      return typeof ast.literal === "bigint" ? `${ast.literal}n` : JSON.stringify(ast.literal)
    case "UniqueSymbol":
      return String(ast.symbol)
    case "Enums":
      return `enum(${JSON.stringify(ast.enums)})`
    case "TemplateLiteral":
      return `template(${JSON.stringify(ast.head)},${ast.spans
        .map((span) => `${print(span.type, above)},${JSON.stringify(span.literal)}`)
        .join(",")})`
    case "TupleType": {
      const elements = ast.elements.map((element) => `${print(element.type, above)}${element.isOptional ? "?" : ""}`)
      return `[${[...elements, ...ast.rest.map((rest) => `...${print(rest.type, above)}`)].join(",")}]`
    }
    case "TypeLiteral": {
      const fields = ast.propertySignatures.map(
        (field) =>
          `${typeof field.name === "symbol" ? String(field.name) : JSON.stringify(field.name)}${
            field.isOptional ? "?" : ""
          }:${print(field.type, above)}`
      )
      const indexes = ast.indexSignatures.map(
        (index) => `[${print(index.parameter, above)}]:${print(index.type, above)}`
      )
      // The order of fields is not part of what is written.
      return `{${[...fields.toSorted(), ...indexes.toSorted()].join(",")}}`
    }
    case "Union":
      return `(${ast.types
        .map((type) => print(type, above))
        .toSorted()
        .join("|")})`
    case "Suspend": {
      const inner = ast.f()
      // A type that contains itself is written as the distance to where it begins.
      const known = above.get(inner)
      return known === undefined ? print(inner, new Map(above).set(inner, above.size)) : `up(${above.size - known})`
    }
    // Only what is written counts.
    case "Refinement":
    case "Transformation":
      return print(ast.from, above)
    case "Declaration":
      return `declared(${[identifier(ast), ...ast.typeParameters.map((type) => print(type, above))].join(",")})`
    default:
      return ast._tag
  }
}

const identifier = (ast: SchemaAST.AST): string => {
  const name = ast.annotations[SchemaAST.IdentifierAnnotationId] ?? ast.annotations[SchemaAST.TitleAnnotationId]
  return typeof name === "string" ? name : ast._tag
}

/** A digest of the Schema's encoded side. */
export const fingerprint = (schema: Schema.Schema.AnyNoContext): string => sha256(print(schema.ast, new Map()))
