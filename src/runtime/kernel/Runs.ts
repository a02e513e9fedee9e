/** Which numbers of a session are which events of a job: runs, in the order in which they were given. */

/** The session numbers `firstSeq..lastSeq` are the events from `firstJobSeq` on of one job. */
export interface Run {
  readonly firstSeq: number
  readonly lastSeq: number
  readonly firstJobSeq: number
}

interface OpenRun extends Run {
  lastSeq: number
}

/** What a session has been given of one job. */
export class Runs {
  private runs: Array<OpenRun>
  private newest: number

  constructor(runs: ReadonlyArray<Run> = []) {
    this.runs = runs.map((run) => ({ ...run }))
    this.newest = runs.at(-1)?.lastSeq ?? 0
  }

  /** Those that are not forgotten. */
  get all(): ReadonlyArray<Run> {
    return this.runs
  }

  /** The last number, also where its run is forgotten; 0 before the first. */
  get lastSeq(): number {
    return this.newest
  }

  /** Numbers that were given now: more of the last run where they go on from it. */
  add(firstSeq: number, lastSeq: number, firstJobSeq: number): void {
    const { runs } = this
    const last = runs[runs.length - 1]
    this.newest = lastSeq
    if (
      last !== undefined &&
      last.lastSeq + 1 === firstSeq &&
      last.firstJobSeq + (last.lastSeq - last.firstSeq) + 1 === firstJobSeq
    )
      last.lastSeq = lastSeq
    // An array that begins empty has room for sixteen more with its first; most jobs have one run.
    else if (last === undefined) this.runs = [{ firstSeq, lastSeq, firstJobSeq }]
    else runs.push({ firstSeq, lastSeq, firstJobSeq })
  }

  /** Events of the job up to a number are not asked for any more. */
  forget(upTo: number): void {
    const keep = this.runs.findIndex((run) => run.firstJobSeq + (run.lastSeq - run.firstSeq) > upTo)
    this.runs.splice(0, keep === -1 ? this.runs.length : keep)
  }
}
