/** Wakes a thread when something changes in shared memory: no polling, nothing runs while nothing happens. */
export class FlowWake {
  readonly #events: Int32Array
  readonly #woken: () => void
  #armed = false

  constructor(events: Int32Array, woken: () => void) {
    this.#events = events
    this.#woken = woken
  }

  /** What `arm` must be given: taken before looking at whatever the events tell of. */
  now(): number {
    return Atomics.load(this.#events, 0)
  }

  /** Calls `woken` once, from the event loop, when there is an event after the moment of `seen`. */
  arm(seen: number): void {
    if (this.#armed) return
    this.#armed = true
    const fire = () => {
      this.#armed = false
      this.#woken()
    }
    const wait = Atomics.waitAsync(this.#events, 0, seen)
    if (wait.async) void wait.value.then(fire)
    else queueMicrotask(fire)
  }
}
