import { Buffer } from 'node:buffer'

/** A header name ready for comparison with wire bytes. */
export interface HeaderName {
  /** Lower case. */
  readonly text: string
  readonly bytes: Uint8Array
}

export function headerName(text: string): HeaderName {
  const lower = text.toLowerCase()
  return { text: lower, bytes: Buffer.from(lower) }
}

/**
 * The headers of one message as positions in its bytes: nothing is decoded until asked for. Filled by the decoder; valid as
 * long as those bytes are (`Exchange` copies the header message where the transport does not let it keep parts).
 */
export class HeaderView {
  bytes: Buffer = Buffer.alloc(0)
  count = 0
  /** Four positions a header: key start, key end, value start, value end. */
  #at = new Int32Array(4 * 32)

  clear(): void {
    this.count = 0
    this.bytes = EMPTY
  }

  /** Appends one header (decoder only). */
  add(keyStart: number, keyEnd: number, valueStart: number, valueEnd: number): void {
    const i = this.count * 4
    if (i === this.#at.length) {
      const grown = new Int32Array(this.#at.length * 2)
      grown.set(this.#at)
      this.#at = grown
    }
    this.#at[i] = keyStart
    this.#at[i + 1] = keyEnd
    this.#at[i + 2] = valueStart
    this.#at[i + 3] = valueEnd
    this.count++
  }

  /** Index of the first header of that name at or after `from`, or −1. */
  find(name: HeaderName, from = 0): number {
    const wanted = name.bytes
    const length = wanted.length
    const { bytes } = this
    next: for (let i = from; i < this.count; i++) {
      const start = this.#at[4 * i]!
      if (this.#at[4 * i + 1]! - start !== length) continue
      for (let j = 0; j < length; j++) if (bytes[start + j] !== wanted[j]) continue next
      return i
    }
    return -1
  }

  name(index: number): string {
    return this.bytes.toString('latin1', this.#at[4 * index], this.#at[4 * index + 1])
  }

  value(index: number): string {
    return this.bytes.toString('utf8', this.#at[4 * index + 2], this.#at[4 * index + 3])
  }

  /** The first value of that name, or undefined. */
  get(name: HeaderName): string | undefined {
    const index = this.find(name)
    return index < 0 ? undefined : this.value(index)
  }

  /** All values of that name joined with a comma, as Envoy matches repeated headers (RFC 9110 §5.3); undefined when absent. */
  joined(name: HeaderName): string | undefined {
    let index = this.find(name)
    if (index < 0) return undefined
    let text = this.value(index)
    while ((index = this.find(name, index + 1)) >= 0) text += `,${this.value(index)}`
    return text
  }

  /** Compares a value with lower-case ASCII without decoding it; letters are folded. */
  startsWith(index: number, lower: Uint8Array): boolean {
    const start = this.#at[4 * index + 2]!
    if (this.#at[4 * index + 3]! - start < lower.length) return false
    for (let i = 0; i < lower.length; i++) {
      const byte = this.bytes[start + i]!
      if ((byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte) !== lower[i]) return false
    }
    return true
  }

  /** A decimal value, or −1 when it is absent, repeated with another value, or not a plain decimal number. */
  decimal(name: HeaderName): number {
    const index = this.find(name)
    if (index < 0) return -1
    const start = this.#at[4 * index + 2]!
    const end = this.#at[4 * index + 3]!
    if (start === end || end - start > 15) return -1
    let number = 0
    for (let i = start; i < end; i++) {
      const digit = this.bytes[i]! - 0x30
      if (digit < 0 || digit > 9) return -1
      number = number * 10 + digit
    }
    return number
  }
}

const EMPTY = Buffer.alloc(0)
