/**
 * The wire contract of ARCP 1.1 as Schemas: pure, no I/O, runs anywhere.
 */
export * as AgentName from "./AgentName.js"
export * from "./AgentSpec.js"
export * as Artifact from "./Artifact.js"
export * as CanonicalJson from "./CanonicalJson.js"
export * as Envelope from "./Envelope.js"
export * from "./Errors.js"
export * as Event from "./Event.js"
export * as ExtensionName from "./ExtensionName.js"
export * as Features from "./Features.js"
/** Schemas of the fields that several messages have. */
export * as Fields from "./Fields.js"
export * from "./Ids.js"
export * as Job from "./Job.js"
export type { LeaseRequest } from "./LeaseRequest.js"
export * as Message from "./Message.js"
export * as Session from "./Session.js"
export * as Trace from "./Trace.js"
