/** How much is done. */
export interface Size {
  readonly rounds: number
  /** Rounds of what needs fresh processes for each run. */
  readonly freshRounds: number
  readonly events: number
  readonly echoes: number
  readonly jobs: number
  readonly streamBytes: number
  /** Events of a job with 0, 1, 10 and 100 observers. */
  readonly observed: readonly [number, number, number, number]
  readonly sessions: ReadonlyArray<number>
  /** Events that are acknowledged before the memory is looked at, and then again. */
  readonly acked: readonly [number, number]
  readonly logRows: ReadonlyArray<number>
  /** The raw client's, on every runtime: jobs, events, those of a fan-out and of a replay, and sessions. */
  readonly raw: {
    readonly jobs: number
    readonly echoes: number
    readonly events: number
    readonly fanOut: number
    readonly replay: number
    readonly pings: number
    readonly sessions: number
    readonly streamBytes: number
    /** How long a run of a peer may take, in milliseconds. */
    readonly peerTime: number
  }
  /** How long tokens are emitted, in milliseconds. */
  readonly tokenTime: number
  /** Which clients read them. */
  readonly tokenClients: ReadonlyArray<"own" | "raw">
  /** Jobs that wait. */
  readonly waiting: number
  /** What others' pings are looked at beside. */
  readonly beside: {
    readonly busyItems: number
    readonly streamBytes: number
    readonly replay: number
    readonly purgeBytes: number
    readonly purgeTime: number
  }
}

export const full: Size = {
  rounds: 5,
  freshRounds: 3,
  events: 100_000,
  echoes: 2_000,
  jobs: 10_000,
  streamBytes: 134_217_728,
  observed: [100_000, 100_000, 20_000, 5_000],
  sessions: [1_000, 10_000],
  acked: [50_000, 400_000],
  logRows: [10_000, 100_000, 1_000_000],
  raw: {
    jobs: 10_000,
    echoes: 2_000,
    events: 100_000,
    fanOut: 10_000,
    replay: 20_000,
    pings: 2_000,
    sessions: 1_000,
    streamBytes: 67_108_864,
    peerTime: 60_000
  },
  tokenTime: 4_000,
  tokenClients: ["own", "raw"],
  waiting: 10_000,
  beside: {
    busyItems: 300,
    streamBytes: 1_073_741_824,
    replay: 100_000,
    purgeBytes: 209_715_200,
    purgeTime: 15_000
  }
}

export const quick: Size = {
  rounds: 3,
  freshRounds: 1,
  events: 40_000,
  echoes: 300,
  jobs: 1_000,
  streamBytes: 16_777_216,
  observed: [40_000, 20_000, 2_500, 400],
  sessions: [1_000],
  acked: [30_000, 80_000],
  logRows: [10_000, 100_000],
  raw: {
    jobs: 1_500,
    echoes: 400,
    events: 20_000,
    fanOut: 2_000,
    replay: 5_000,
    pings: 200,
    sessions: 300,
    streamBytes: 16_777_216,
    peerTime: 15_000
  },
  tokenTime: 1_000,
  tokenClients: ["own"],
  waiting: 2_000,
  beside: {
    busyItems: 50,
    streamBytes: 134_217_728,
    replay: 100_000,
    purgeBytes: 67_108_864,
    purgeTime: 3_000
  }
}
