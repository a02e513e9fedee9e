/** The time that all processes of the machine share, in microseconds: it does not jump with the wall clock. */
export const now = (): number => Number(process.hrtime.bigint() / 1000n)
