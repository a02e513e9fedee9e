/** The members of a service, also those that its class has and not the object itself. */

/**
 * A copy whose functions may be called without the service, and that may be spread: it includes the members of the class's prototype, its
 * functions are bound to the service, and getters are read once.
 */
export const membersOf = <S extends object>(service: S): S => {
  const out: Record<string, unknown> = {}
  for (let at: object = service; at !== null && at !== Object.prototype; at = Object.getPrototypeOf(at) as object) {
    for (const name of Object.getOwnPropertyNames(at)) {
      if (name === "constructor" || Object.hasOwn(out, name)) continue
      const value: unknown = Reflect.get(service, name)
      out[name] = typeof value === "function" ? (value.bind(service) as unknown) : value
    }
  }
  return out as S
}
