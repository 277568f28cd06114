import type { EndpointTable } from './endpoint-table.ts'

const MAX_CACHED = 4096

/** Texts of ordered endpoint lists (`a:1,b:2`), kept because the same few come up all the time. */
export class AddressLists {
  readonly #texts = new Map<number, string>()

  /** Must be called when slots change hands. */
  clear(): void {
    this.#texts.clear()
  }

  text(slots: Int32Array, count: number, table: EndpointTable): string {
    if (count === 1) return table.address(slots[0]!) ?? ''
    let key = count
    for (let place = 0; place < count; place++) key = key * table.capacity + slots[place]!
    const known = this.#texts.get(key)
    if (known !== undefined) return known
    const text = Array.from(slots.subarray(0, count), slot => table.address(slot) ?? '').join(',')
    // Beyond 2⁵³ keys of different lists may be equal.
    if (!Number.isSafeInteger(key)) return text
    if (this.#texts.size >= MAX_CACHED) this.#texts.clear()
    this.#texts.set(key, text)
    return text
  }
}
