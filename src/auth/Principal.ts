/** Who is behind a session. */
export interface Principal {
  /** Stable identity; jobs belong to it. */
  readonly id: string
  /** Whether nobody vouched for it: each session of an anonymous client is a principal of its own. */
  readonly anonymous: boolean
  /** What the authenticator knows besides, such as a token's claims. */
  readonly claims: Readonly<Record<string, unknown>>
}
