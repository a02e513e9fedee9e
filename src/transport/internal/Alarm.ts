/**
 * A timer for drivers of streams and processes, which live outside of fibers and know no Clock; `ws` has its own within.
 * One at a time: setting it again moves it.
 */
export class Alarm {
  // edge: bounds real I/O, which no TestClock moves
  private timer: ReturnType<typeof setTimeout> | undefined

  /** Calls `action` in `millis` milliseconds, instead of what was set before. */
  set(millis: number, action: () => void): void {
    this.clear()
    // edge: bounds real I/O, which no TestClock moves
    this.timer = setTimeout(action, millis)
  }

  clear(): void {
    clearTimeout(this.timer)
  }
}
