interface Slot {
  /** Simulated time from which the adapter can be used. */
  readyAt: number
  /** Running sequences that use it. */
  users: number
  lastUsed: number
}

/** The adapters that the (simulated) GPU holds at once. Loading one takes time; the idle one used longest ago makes room. */
export class LoraSlots {
  readonly maxLoras: number
  /** Adapters loaded and thrown out since the start. */
  loads = 0
  evictions = 0
  readonly #loadMs: number
  readonly #slots = new Map<string, Slot>()

  constructor(maxLoras: number, loadMs: number) {
    this.maxLoras = maxLoras
    this.#loadMs = loadMs
  }

  /** Adapters in a slot, loaded or loading. */
  get resident(): string[] {
    return [...this.#slots.keys()]
  }

  /**
   * Asks for an adapter: the time from which it is ready (now or earlier: use it), or undefined when every slot is in use or
   * kept for an adapter that `claimed` holds, by which older requests are served first.
   */
  request(name: string, now: number, claimed: ReadonlySet<string>): number | undefined {
    const slot = this.#slots.get(name)
    if (slot !== undefined) return slot.readyAt
    if (this.#slots.size >= this.maxLoras && !this.#evict(claimed)) return undefined
    const readyAt = now + this.#loadMs
    this.#slots.set(name, { readyAt, users: 0, lastUsed: now })
    this.loads++
    return readyAt
  }

  /** A sequence starts to run with an adapter that is ready. */
  use(name: string): void {
    const slot = this.#slots.get(name)
    if (slot === undefined) throw new Error(`adapter ${name} is in no slot`)
    slot.users++
  }

  /** The sequence is over, or was preempted. */
  leave(name: string, now: number): void {
    const slot = this.#slots.get(name)
    if (slot === undefined) throw new Error(`adapter ${name} is in no slot`)
    slot.users--
    slot.lastUsed = now
  }

  #evict(claimed: ReadonlySet<string>): boolean {
    let oldest: string | undefined
    let lastUsed = Number.POSITIVE_INFINITY
    for (const [name, slot] of this.#slots) {
      if (slot.users > 0 || claimed.has(name) || slot.lastUsed >= lastUsed) continue
      oldest = name
      lastUsed = slot.lastUsed
    }
    if (oldest === undefined) return false
    this.#slots.delete(oldest)
    this.evictions++
    return true
  }
}
