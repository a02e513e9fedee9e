/** Driving agents: `ArcpClient`, job handles, and a session that outlives its connections. Runs in a browser too. */
export * from "./ArcpClient.js"
export { ArtifactInvalid } from "./Artifacts.js"
export type { ArtifactInfo, ClientArtifacts, FetchedArtifact, PutOptions } from "./Artifacts.js"
export * from "./ClientError.js"
export * from "./ClientStatus.js"
export type { Credential, EventsGap, EventsOptions, JobHandle, ObservedJob } from "./JobHandle.js"
export * from "./SessionFacts.js"
