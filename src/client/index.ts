/** Driving agents: `ArcpClient`, job handles, and a session that outlives its connections. Runs in a browser too. */
export * from "./ArcpClient.js"
export * from "./ClientError.js"
export * from "./ClientStatus.js"
export type { Credential, JobHandle, ObservedJob } from "./JobHandle.js"
