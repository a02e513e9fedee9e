/** Why a dial failed, in one line that says what to do. */
import { TransportError } from "../Connection.js"

const byStatus: { readonly [status: number]: string } = {
  400: "400 Bad Request; is a proxy in between that does not pass WebSockets through?",
  401: "401 Unauthorized; check the headers or the token that the proxy in front of the runtime wants",
  403: "403 Forbidden; the runtime's allowedHosts or allowedOrigins, or a proxy in front of it, does not let this client in",
  404: "404 Not Found; check the path of the URL (a runtime usually listens on /arcp)",
  426: "426 Upgrade Required; a proxy in between has dropped the Upgrade header",
  429: "429 Too Many Requests; come back later",
  502: "502 Bad Gateway; the proxy cannot reach the runtime",
  503: "503 Service Unavailable; the runtime is full or shutting down, come back later",
  504: "504 Gateway Timeout; the proxy cannot reach the runtime"
}

const byCode: { readonly [code: string]: string } = {
  ECONNREFUSED: "nothing listens there; start the runtime or check host and port",
  ECONNRESET:
    "the peer reset the connection; does it speak TLS (wss://) where ws:// is used, or is it no WebSocket server?",
  EPIPE: "the peer closed the connection during the handshake",
  ENOTFOUND: "the host name is unknown; check its spelling and DNS",
  EAI_AGAIN: "the host name could not be looked up now; check DNS",
  ETIMEDOUT: "the host does not answer; check the address and firewalls",
  EHOSTUNREACH: "the host cannot be reached; check the network",
  ENETUNREACH: "the network cannot be reached",
  EPROTO: "TLS failed; does the peer speak plain ws:// where wss:// is used?",
  CERT_HAS_EXPIRED: "the certificate has expired; renew it",
  CERT_NOT_YET_VALID: "the certificate is not valid yet; check this machine's clock",
  DEPTH_ZERO_SELF_SIGNED_CERT: "the certificate is self-signed; give it as tls.ca to trust it",
  SELF_SIGNED_CERT_IN_CHAIN: "the certificate's authority is not trusted; give it as tls.ca to trust it",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    "the certificate's authority is not known; give it as tls.ca, or have the server send its whole chain",
  UNABLE_TO_GET_ISSUER_CERT: "the certificate's authority is not known; give it as tls.ca",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "the certificate's authority is not known; give it as tls.ca",
  ERR_TLS_CERT_ALTNAME_INVALID:
    "the certificate is for another host name; check the URL, or give the name as tls.servername"
}

const codeOf = (cause: unknown): string | undefined => {
  if (typeof cause !== "object" || cause === null) return undefined
  if ("code" in cause && typeof cause.code === "string") return cause.code
  // several addresses were tried: the first one's reason stands for all
  return "errors" in cause && Array.isArray(cause.errors) ? codeOf(cause.errors[0]) : undefined
}

/** From an error of the network or of TLS. */
export const fromCause = (address: string, cause: unknown): TransportError => {
  const code = codeOf(cause)
  const known =
    code === undefined ? undefined : (byCode[code] ?? (code.startsWith("ERR_SSL_") ? byCode.EPROTO : undefined))
  const message = cause instanceof Error && cause.message !== "" ? cause.message : "the handshake failed"
  return new TransportError({
    operation: "connect",
    message: `could not connect to ${address}: ${known === undefined ? message : `${known} (${code})`}`,
    cause
  })
}

/** From an HTTP answer that is no upgrade. */
export const fromStatus = (address: string, status: number): TransportError =>
  new TransportError({
    operation: "connect",
    message: `could not connect to ${address}: the server answered ${
      byStatus[status] ??
      (status >= 300 && status < 400 ? `${status}, a redirect; use the final URL` : `${status} instead of upgrading`)
    }`
  })

/** Not open in time. */
export const timedOut = (address: string, millis: number): TransportError =>
  new TransportError({
    operation: "connect",
    message: `could not connect to ${address}: no WebSocket within ${millis} ms; is the peer up, and is it an ARCP runtime?`
  })
