/**
 * Driving agents: `ArcpClient`, job handles, and a session that outlives its connections. Runs in a browser too.
 *
 * @module
 */

export * from "./ArcpClient.js"
export type { ArcpClientService } from "./ArcpClientService.js"
export { ArtifactInvalid } from "./Artifacts.js"
export type { ArtifactInfo, ClientArtifacts, FetchedArtifact, PutOptions } from "./Artifacts.js"
export * from "./ClientError.js"
export type { AttachOptions, ClientOptions, SubmitOptions, SubscribeOptions } from "./ClientOptions.js"
export * from "./ClientStatus.js"
export type { Credential, EventsGap, EventsOptions, JobHandle, ObservedJob } from "./JobHandle.js"
export * from "./SessionFacts.js"
