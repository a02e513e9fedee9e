/** Signed JWTs, over `jose`. */
export * as Jwt from "./JwtAuthenticator.js"
