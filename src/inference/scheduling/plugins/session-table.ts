/**
 * Session → endpoint, for all threads in one piece of shared memory of fixed size: buckets of entries with a 64-bit hash of the session's
 * id. A full bucket forgets the session that was idle longest. Written without locks: two threads that write one entry at once may
 * lose a session, nothing more. A collision (2⁻⁶⁴ a pair) shares an endpoint, which harms nobody.
 */
import type { EndpointTable } from '../../endpoint-table.ts'
import { finish } from '../../prefix-hasher.ts'

const BUCKETS = 8192
const WAYS = 8
/** Words of an entry: hash (two), slot, generation, seconds of the last use. */
const LOW = 0
const HIGH = 1
const SLOT = 2
const GENERATION = 3
const USED = 4
const ENTRY = 5

export class SessionTable {
  static readonly WORDS = BUCKETS * WAYS * ENTRY
  readonly #ttlSeconds: number
  #memory: Int32Array = new Int32Array(0)
  #low = 0
  #high = 0

  constructor(ttlSeconds: number) {
    this.#ttlSeconds = ttlSeconds
  }

  attach(memory: Int32Array): void {
    this.#memory = memory
  }

  /** The session's endpoint; −1: it has none, or the endpoint has gone. */
  find(session: string, nowMs: number, table: EndpointTable): number {
    const at = this.#entry(session)
    const memory = this.#memory
    if (at < 0 || nowMs / 1000 - memory[at + USED]! > this.#ttlSeconds) return -1
    const slot = memory[at + SLOT]!
    return table.generation[slot] === memory[at + GENERATION] ? slot : -1
  }

  set(session: string, nowMs: number, slot: number, table: EndpointTable): void {
    let at = this.#entry(session)
    const memory = this.#memory
    if (at < 0) {
      const bucket = this.#bucket()
      at = bucket
      for (let way = 1; way < WAYS; way++) {
        const other = bucket + way * ENTRY
        if (memory[other + USED]! < memory[at + USED]!) at = other
      }
    }
    memory[at + LOW] = this.#low
    memory[at + HIGH] = this.#high
    memory[at + SLOT] = slot
    memory[at + GENERATION] = table.generation[slot]!
    memory[at + USED] = Math.floor(nowMs / 1000)
  }

  #bucket(): number {
    return (this.#low & (BUCKETS - 1)) * WAYS * ENTRY
  }

  /** Hashes the session's id; where its entry is, or −1. */
  #entry(session: string): number {
    let low = 0x811c9dc5 | 0
    let high = 0x9e3779b1 | 0
    for (let i = 0; i < session.length; i++) {
      const code = session.charCodeAt(i)
      low = Math.imul(low ^ code, 0x01000193)
      high = Math.imul(high ^ code, 0x85ebca6b | 0)
      high = (high << 13) | (high >>> 19)
    }
    // 0 is an empty entry.
    this.#low = finish(low) || 1
    this.#high = finish(high)
    const bucket = this.#bucket()
    const memory = this.#memory
    for (let at = bucket; at < bucket + WAYS * ENTRY; at += ENTRY) {
      if (memory[at + LOW] === this.#low && memory[at + HIGH] === this.#high) return at
    }
    return -1
  }
}
