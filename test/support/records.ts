/** Records of a store as a test needs them: whole, with what the test is about set by name. */
export { jobRecord, jobState, ledgerRecord, sessionRecord } from "../../src/testing/internal/rows.js"
