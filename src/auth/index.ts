/**
 * Who a client is.
 *
 * @module
 */

export * from "./Authenticator.js"
export * from "./Principal.js"
export { AuthenticationUnavailable, type Verdict } from "./Verdict.js"
