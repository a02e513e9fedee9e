/** The key of the `Job` service in a context. */
export const jobKey = "effect-arcp/agent/Job"
