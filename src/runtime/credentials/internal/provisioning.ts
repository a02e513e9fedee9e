/**
 * The program's provisioner, made total: answers and errors are copied into plain data before anything else reads them (ARCP 1.1 §9.8).
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Text from "../../../protocol/Text.js"
import { type CredentialProvisioner, type Issued, ProvisionError, RevokeError } from "../CredentialProvisioner.js"

const optional = <K extends string>(value: unknown, key: K): { readonly [P in K]?: string } => {
  const found = Text.property(value, key)
  // A field of another type is refused with the text of its type, which no check lets through.
  return (found === undefined ? {} : { [key]: typeof found === "string" ? found : `\u0000${typeof found}` }) as {
    readonly [P in K]?: string
  }
}

/** A key whose parts cannot be read: no check lets it through, and without a handle it is looked for by its reference. */
const unreadable = ""

const issuedCopy = (value: unknown): Issued => {
  const text = (found: unknown): string => (typeof found === "string" ? found : unreadable)
  const constraints = Text.property(value, "constraints")
  return {
    handle: text(Text.property(value, "handle")),
    endpoint: text(Text.property(value, "endpoint")),
    value: Redacted.make(
      text(
        Text.attempt<unknown, undefined>(
          () => Redacted.value(Text.property(value, "value") as Redacted.Redacted),
          undefined
        )
      )
    ),
    ...optional(value, "scheme"),
    ...optional(value, "profile"),
    ...(constraints === undefined
      ? {}
      : { constraints: Text.snapshot(constraints) as NonNullable<Issued["constraints"]> })
  }
}

/**
 * The keys of an answer as plain data, one of those without a handle first: it has the reference of the call, by which all of them
 * are found. Fails where the answer is no list.
 */
const copies = (answer: unknown): Effect.Effect<ReadonlyArray<Issued>, ProvisionError> => {
  const list: ReadonlyArray<unknown> | undefined = Text.attempt(
    () =>
      Array.isArray(answer) && answer.length <= 4_096
        ? Array.from({ length: answer.length }, (_, i): unknown => answer[i])
        : undefined,
    undefined
  )
  if (list === undefined) {
    return Effect.fail(
      new ProvisionError({ message: "the provisioner returned no list of credentials", uncertain: true })
    )
  }
  const issued = list.map(issuedCopy)
  const lost = issued.find(({ handle }) => handle === unreadable)
  const found = issued.filter(({ handle }) => handle !== unreadable)
  return Effect.succeed(lost === undefined ? found : [lost, ...found])
}

const provisionError = (error: unknown): ProvisionError => {
  if (!Text.isInstance(error, ProvisionError)) {
    return new ProvisionError({ message: "the provisioner failed with an unknown error", uncertain: true })
  }
  const explanation = Text.textProperty(error, "explanation")
  return new ProvisionError({
    message: Text.textProperty(error, "message") ?? "the provisioner failed",
    uncertain: Text.property(error, "uncertain") !== false,
    retryable: Text.property(error, "retryable") !== false,
    ...(explanation === undefined ? {} : { explanation })
  })
}

const revokeError = (error: unknown): RevokeError =>
  new RevokeError({
    message: Text.textProperty(error, "message") ?? "the provisioner failed to revoke",
    permanent: Text.property(error, "permanent") === true
  })

/** The provisioner, with answers and errors as plain data. */
export const provisioning = (
  provisioner: Context.Tag.Service<CredentialProvisioner>
): Context.Tag.Service<CredentialProvisioner> => {
  // Called as methods: a provisioner may be an instance of a class.
  return {
    issue: (request) =>
      Effect.flatMap(
        Effect.mapError(
          Effect.suspend(() => provisioner.issue(request)),
          provisionError
        ),
        copies
      ),
    revoke: (handle) =>
      Effect.mapError(
        Effect.suspend(() => provisioner.revoke(handle)),
        revokeError
      ),
    ...(provisioner.rotate === undefined
      ? {}
      : {
          rotate: (handle, request) =>
            Effect.suspend(() => provisioner.rotate!(handle, request)).pipe(
              Effect.mapError(provisionError),
              Effect.flatMap((one) => copies([one])),
              Effect.map((all) => all[0]!)
            )
        }),
    ...(provisioner.reclaim === undefined
      ? {}
      : {
          reclaim: (reference) =>
            Effect.mapError(
              Effect.suspend(() => provisioner.reclaim!(reference)),
              revokeError
            )
        })
  }
}
