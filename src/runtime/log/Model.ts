export { type Attachment } from "./Attachments.js"
export { isLive, LiveJob } from "./JobLog.js"
export type { EndedJob, Run, SessionRun } from "./Run.js"
export { acceptedParts, accepts, LiveSession } from "./SessionLog.js"
