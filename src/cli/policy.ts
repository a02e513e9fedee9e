/** What `serve` lets its clients' jobs do: the lease policy of the command line (ARCP 1.1 §9). */
import * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Lease from "../authority/Lease.js"
import type { Principal } from "../auth/Principal.js"
import * as Decimal from "../protocol/Decimal.js"
import { WireLease } from "../protocol/Fields.js"
import { type Exit, usage } from "./errors.js"

/** The options that decide. */
export interface PolicyOptions {
  readonly allow: ReadonlyArray<string>
  readonly allowFile: Option.Option<string>
  readonly allowAny: boolean
}

/** What a principal's jobs may be granted, and what to say of it at the start. */
export interface Policy {
  readonly allowed: (principal: Principal) => Lease.Lease | undefined
  readonly notice: ReadonlyArray<string>
}

/** The patterns under which every name is. */
const everything = ["**"]

/** A principal's part of a policy file: the widest lease of its jobs, or `"any"` for no limit. */
const Grant = Schema.Union(Schema.Literal("any"), WireLease)

/** The entry of a policy file for principals that have none of their own, and the one for anonymous ones. */
const others = "*"
const anonymous = "anonymous:*"

const compile = (from: string, lease: WireLease): Effect.Effect<Lease.Lease, Exit> =>
  Effect.mapError(Lease.compile(Decimal.plainBudget(lease)), ({ message }) =>
    usage(`${from}: ${message.replace(/^lease_request[.:] ?/, "")}`)
  )

const none: Lease.Lease = Lease.emptyLease

/** `fs.read=/data/**`, one after the other. */
const fromArguments = (allow: ReadonlyArray<string>): Effect.Effect<Lease.Lease, Exit> =>
  Effect.gen(function* () {
    const lease = new Map<string, Array<string>>()
    for (const text of allow) {
      const at = text.indexOf("=")
      if (at <= 0 || at === text.length - 1) {
        return yield* usage(`--allow: ${JSON.stringify(text)} must be CAPABILITY=PATTERN, for example fs.read=/data/**`)
      }
      const capability = text.slice(0, at)
      lease.set(capability, [...(lease.get(capability) ?? []), text.slice(at + 1)])
    }
    return yield* compile("--allow", Object.fromEntries(lease))
  })

const example = '{"alice": {"fs.read": ["/data/**"]}, "bob": "any", "*": {"tool.call": ["**"]}}'

/** A JSON object of principals. */
const fromFile = (path: string): Effect.Effect<Policy["allowed"], Exit, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const text = yield* Effect.mapError(fs.readFileString(path), () => usage(`--allow-file: ${path} cannot be read`))
    const wrong = usage(`--allow-file: ${path} must be a JSON object of principals, for example ${example}`)
    const json = yield* Effect.mapError(Schema.decode(Schema.parseJson())(text), () => wrong)
    if (typeof json !== "object" || json === null || Array.isArray(json)) return yield* wrong
    const table = new Map<string, Lease.Lease | undefined>()
    // One by one: a Schema of records loses the key `__proto__`.
    for (const [principal, value] of Object.entries(json)) {
      const from = `--allow-file: ${JSON.stringify(principal)} in ${path}`
      const grant = yield* Effect.mapError(Schema.decodeUnknown(Grant)(value), () =>
        usage(`${from} must be a lease, for example {"fs.read": ["/data/**"]}, or "any"`)
      )
      table.set(principal, grant === "any" ? undefined : yield* compile(from, grant))
    }
    return (principal) => {
      const keys = principal.anonymous ? [anonymous, others] : [principal.id, others]
      const key = keys.find((candidate) => table.has(candidate))
      return key === undefined ? none : table.get(key)
    }
  })

/** What is granted where the command line does not say: nothing that reaches outside but the demo agents' own folder. */
const fromNothing = (hosts: { readonly agents: boolean; readonly demoFolder: string | undefined }) => {
  const lease: WireLease = {
    ...(hosts.demoFolder === undefined ? {} : { "fs.read": [`${hosts.demoFolder}/**`] }),
    "tool.call": everything,
    // Of the demo agents, the one that delegates hands on what it has, and the one that names a model calls none.
    ...(hosts.agents ? {} : { "agent.delegate": everything, "model.use": everything })
  }
  return Effect.map(compile("the default policy", lease), (compiled): Policy => {
    const list = Object.entries(lease).map(([capability, patterns]) => `${capability} ${patterns.join(" ")}`)
    return {
      allowed: () => compiled,
      notice: [
        `jobs may be granted no more than ${list.join(", ")}`,
        "give --allow CAPABILITY=PATTERN, --allow-file FILE or --allow-any to decide otherwise"
      ]
    }
  })
}

/** The policy of a command line. */
export const policyOf = (
  options: PolicyOptions,
  hosts: { readonly agents: boolean; readonly demoFolder: string | undefined }
): Effect.Effect<Policy, Exit, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const { allow, allowAny, allowFile } = options
    if ([allow.length > 0, Option.isSome(allowFile), allowAny].filter(Boolean).length > 1) {
      return yield* usage("--allow, --allow-file and --allow-any exclude each other: give one of them")
    }
    if (allowAny) return { allowed: () => undefined, notice: ["jobs are granted whatever they ask for (--allow-any)"] }
    if (Option.isSome(allowFile)) return { allowed: yield* fromFile(allowFile.value), notice: [] }
    if (allow.length === 0) return yield* fromNothing(hosts)
    const lease = yield* fromArguments(allow)
    return { allowed: () => lease, notice: [] }
  })
