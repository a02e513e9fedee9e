/**
 * Signed JWTs, over `jose`.
 *
 * @module
 */

/**
 * Signed JWTs as bearer tokens, verified by `jose`.
 *
 * @since 0.1.0
 * @category modules
 */
export * as Jwt from "./JwtAuthenticator.js"
