/**
 * The subset hint of the endpoint picker protocol (epp.md §1.8): entries with a port match exactly that endpoint, entries without one
 * all endpoints of the IP. An entry that matches nothing is ignored.
 */
import type { EndpointTable } from './endpoint-table.ts'

export class SubsetHint {
  /** `marks[slot] === stamp`: the slot is in the subset marked last. */
  #marks = new Int32Array(0)
  #stamp = 0
  readonly #slotsOfIp = new Map<string, number[]>()

  /** Takes over the endpoints of a table after each of its updates. */
  update(table: EndpointTable): void {
    this.#slotsOfIp.clear()
    this.#marks = new Int32Array(table.capacity)
    this.#stamp = 0
    for (let i = 0; i < table.liveCount; i++) {
      const slot = table.live[i]!
      const address = table.address(slot)!
      const host = address.slice(0, address.lastIndexOf(':'))
      this.#add(host, slot)
      if (host.startsWith('[')) this.#add(host.slice(1, -1), slot)
    }
  }

  /** Marks the entries' slots for `has`. */
  mark(entries: readonly string[], table: EndpointTable): void {
    this.#stamp++
    for (const entry of entries) {
      const text = entry.trim()
      const slot = table.slotOf(text)
      if (slot !== undefined) {
        this.#marks[slot] = this.#stamp
        continue
      }
      const slots = this.#slotsOfIp.get(text)
      if (slots !== undefined) for (const each of slots) this.#marks[each] = this.#stamp
    }
  }

  has(slot: number): boolean {
    return this.#marks[slot] === this.#stamp
  }

  #add(ip: string, slot: number): void {
    const slots = this.#slotsOfIp.get(ip)
    if (slots === undefined) this.#slotsOfIp.set(ip, [slot])
    else slots.push(slot)
  }
}
