/** What a provisioner answered, checked before it is handed out: well-formed, bounded, and no wider than what was asked for. */
import * as Either from "effect/Either"
import * as Redacted from "effect/Redacted"
import * as Amount from "../../../authority/Amount.js"
import * as Expiry from "../../../authority/Expiry.js"
import * as Glob from "../../../authority/Glob.js"
import type { Issued, ProvisionRequest } from "../CredentialProvisioner.js"

/** Most credentials of one job. */
export const maxIssued = 16
const maxHandle = 1024
const maxValue = 16_384
const maxText = 2048

const oneLineText = /^[^\u0000-\u001f\u007f\u2028\u2029]*$/

/** What is wrong with an endpoint, if anything. */
const endpointProblem = (endpoint: string): string | undefined => {
  if (endpoint.length > maxText || !URL.canParse(endpoint)) return "its endpoint is not a URL"
  const { password, username } = new URL(endpoint)
  return username === "" && password === "" ? undefined : "its endpoint holds user information"
}

/** What makes a constraint wider than the request, if anything (§9.8.2: at or below the job's lease). */
const wider = (issued: Issued, request: ProvisionRequest): string | undefined => {
  const { constraints } = issued
  if (constraints === undefined) return undefined
  const budget = constraints["cost.budget"]
  if (budget !== undefined) {
    const amounts = Amount.parseAll(budget)
    if (Either.isLeft(amounts)) return "its cost.budget is malformed"
    for (const [currency, value] of amounts.right) {
      const left = request.remaining.get(currency)
      if (left !== undefined && Amount.exceeds(value, left)) return `its ${currency} budget exceeds what is left`
    }
  }
  const models = constraints["model.use"]
  if (models !== undefined && request.models !== undefined) {
    const given = Glob.compileAll("name", models)
    const asked = Glob.compileAll("name", request.models)
    if (Either.isLeft(given) || Either.isLeft(asked)) return "its model.use is malformed"
    if (Glob.isSubset(given.right, asked.right)._tag !== "Subset") return "its model.use exceeds the lease's"
  }
  if (constraints.expires_at !== undefined) {
    const at = Expiry.parse(constraints.expires_at)
    if (Either.isLeft(at)) return "its expires_at is malformed"
    if (Expiry.isLater(at.right, request.expiresAt)) return "it expires after the lease"
  }
  return undefined
}

/** What is wrong with an issued credential, as the end of a sentence, without any of its contents; undefined where nothing is. */
export const problem = (issued: Issued, request: ProvisionRequest): string | undefined => {
  const value = Redacted.value(issued.value)
  if (value.length === 0 || value.length > maxValue) return `its value is empty or longer than ${maxValue} characters`
  if (issued.handle.length === 0 || issued.handle.length > maxHandle || !oneLineText.test(issued.handle)) {
    return `its handle is empty, longer than ${maxHandle} characters or not one line`
  }
  // the handle is stored and logged
  if (issued.handle.includes(value)) return "its handle holds its value"
  const { endpoint, profile, scheme } = issued
  for (const text of [endpoint, profile ?? "", scheme ?? ""]) {
    if (text.includes(value)) return "its endpoint, profile or scheme holds its value"
  }
  if (scheme !== undefined && !/^[A-Za-z][A-Za-z0-9_.+-]{0,63}$/.test(scheme)) return "its scheme is malformed"
  if (profile !== undefined && (profile.length > 256 || !oneLineText.test(profile))) return "its profile is malformed"
  return endpointProblem(endpoint) ?? wider(issued, request)
}

/** Whether the handle may be written down: it does not hold the value. */
export const mayStore = (issued: Issued): boolean =>
  issued.handle.length <= maxHandle && !issued.handle.includes(Redacted.value(issued.value))
