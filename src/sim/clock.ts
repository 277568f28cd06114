/**
 * Simulated time, in milliseconds. The engine and its metrics know no other time, so that a test can run hours in a moment and
 * `speed` can make a demo faster without changing any ratio.
 */
export interface Clock {
  /** Simulated milliseconds since some fixed moment; never goes back. */
  now(): number
  /** Calls `action` once, `delay` simulated milliseconds from now. */
  after(delay: number, action: () => void): ClockTimer
  /** How far the engine may run behind `now()` and still catch up; beyond it the lost time stays lost. */
  readonly catchUpMs: number
}

export interface ClockTimer {
  cancel(): void
}

/** Timers of Node are no finer than a millisecond and fire late under load; lateness up to this much is caught up. */
const CATCH_UP_WALL_MS = 50

/** The computer's clock, `speed` times as fast. */
export function realClock(speed: number): Clock {
  const start = performance.now()
  return {
    now: () => (performance.now() - start) * speed,
    after(delay, action) {
      const timer = setTimeout(action, Math.max(0, delay) / speed)
      return { cancel: () => clearTimeout(timer) }
    },
    catchUpMs: CATCH_UP_WALL_MS * speed,
  }
}
