import { describe, expect, it } from "vitest"
import type { Accepted, Credential } from "../../src/protocol/Job.js"
import { acceptedFor, carries, maySee, shownTo, tooLarge } from "../../src/runtime/credentials/View.js"
import { defaults } from "../../src/runtime/kernel/Limits.js"

const credential: Credential = { id: "cred_1", scheme: "bearer", value: "secret", endpoint: "https://gateway.test/v1" }
const credentials = { wire: (jobId: string) => (jobId === "job_1" ? [credential] : []) }
const session = (principalId: string, ...features: ReadonlyArray<string>) => ({
  features: new Set(features),
  principal: { id: principalId }
})
const job = { jobId: "job_1", principalId: "alice" }

describe("who is shown which secret", () => {
  it.each([
    ["its own principal's session with the feature", session("alice", "ack", "provisioned_credentials"), true],
    ["its own principal's session without the feature", session("alice", "ack"), false],
    ["another principal's session with the feature", session("bob", "provisioned_credentials"), false],
    ["another principal's session without it", session("bob"), false]
  ])("§9.8.1, §14 a job's credentials and %s", (_who, viewer, shown) => {
    expect(shownTo(credentials, viewer, job)).toEqual(shown ? { credentials: [credential] } : {})
    const accepted = { job_id: "job_1" } as Accepted
    expect(acceptedFor(credentials, viewer, job, accepted)).toEqual(
      shown ? { job_id: "job_1", credentials: [credential] } : { job_id: "job_1" }
    )
  })

  it("§9.8.1 a job without live credentials shows no field for them", () => {
    const viewer = session("alice", "provisioned_credentials")
    expect(shownTo(credentials, viewer, { jobId: "job_2", principalId: "alice" })).toEqual({})
    const accepted = { job_id: "job_2" } as Accepted
    expect(acceptedFor(credentials, viewer, { jobId: "job_2", principalId: "alice" }, accepted)).toBe(accepted)
  })

  it("§14 a session may see secrets by what it has negotiated alone", () => {
    expect(maySee(session("alice", "provisioned_credentials"))).toBe(true)
    expect(maySee(session("alice", "provisioned_credential", "subscribe"))).toBe(false)
  })

  it.each([
    [true, undefined, true],
    [true, "203.0.113.7", true],
    [false, "127.0.0.1", true],
    [false, "127.8.9.10", true],
    [false, "::1", true],
    [false, "::ffff:127.0.0.1", true],
    [false, undefined, false],
    [false, "", false],
    [false, "203.0.113.7", false],
    [false, "::ffff:203.0.113.7", false],
    [false, "::10", false],
    [false, "2001:db8::127.0.0.1", false]
  ])("§14 a connection (encrypted: %s, from %s) carries secrets: %s", (secure, remoteAddress, may) => {
    expect(carries({ secure, remoteAddress }, "provisioned_credentials")).toBe(may)
    expect(carries({ secure, remoteAddress }, "result_chunk")).toBe(true)
  })

  it("§14 a job whose acceptance cannot show its credentials in a frame is refused for good", () => {
    const limits = { ...defaults, maxFrameBytes: 65_536 }
    const large = { wire: () => [{ ...credential, value: "x".repeat(65_536) }] }
    expect(tooLarge(credentials, { accepted: "{}", jobId: "job_1" }, limits)).toBe(undefined)
    const refusal = tooLarge(large, { accepted: "{}", jobId: "job_1" }, limits)
    expect(refusal?.details).toMatchObject({ reason: "frame_too_large", permanent: true })
    expect(refusal?.message).not.toContain("xx")
  })
})
