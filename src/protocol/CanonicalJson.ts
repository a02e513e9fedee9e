/**
 * JSON in one spelling (RFC 8785): equal values have equal texts, whatever their key order and number spelling.
 *
 * @since 0.1.0
 * @category encoding
 */
export const canonicalize = (value: unknown): string => {
  if (Array.isArray(value)) return `[${value.map((item) => canonicalize(item ?? null)).join(",")}]`
  if (typeof value === "object" && value !== null) {
    const object = value as { readonly [key: string]: unknown }
    const parts: Array<string> = []
    for (const key of Object.keys(object).sort()) {
      if (object[key] !== undefined) parts.push(`${JSON.stringify(key)}:${canonicalize(object[key])}`)
    }
    return `{${parts.join(",")}}`
  }
  return JSON.stringify(value) ?? "null"
}
