import { Buffer } from 'node:buffer'
import { TextCache } from '../body/text-cache.ts'

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

/** Larger header messages get a copy of their own that goes with them: views are pooled. */
const MAX_OWN_BYTES = 4096
const OWN_STEP = 512
/** Positions of 32 headers at first; views give back what more than 256 took. */
const OWN_POSITIONS = 4 * 32
const MAX_OWN_POSITIONS = 4 * 256
const EMPTY = Buffer.alloc(0)
const COMMON = new TextCache()

/**
 * The headers of one message as positions in its bytes: nothing is decoded until asked for. Filled by the decoder; valid as
 * long as those bytes are (`Exchange` copies the header message where the transport does not let it keep parts).
 */
export class HeaderView {
  bytes: Buffer = EMPTY
  count = 0
  /** Where the headers lie in `bytes`. */
  #start = 0
  #end = 0
  /** Four positions a header: key start, key end, value start, value end. */
  #at = new Int32Array(OWN_POSITIONS)
  /** See `keep`. */
  #own: Buffer = EMPTY

  clear(): void {
    this.lie(EMPTY, 0, 0)
    if (this.#at.length > MAX_OWN_POSITIONS) this.#at = new Int32Array(OWN_POSITIONS)
  }

  /** Begins anew, with headers in `bytes[start, end)` (decoder only). */
  lie(bytes: Buffer, start: number, end: number): void {
    this.count = 0
    this.bytes = bytes
    this.#start = start
    this.#end = end
  }

  /** Bytes of the headers as they came. */
  get size(): number {
    return this.#end - this.#start
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

  /** As `get`, for values that are often the same. */
  common(name: HeaderName): string | undefined {
    const index = this.find(name)
    return index < 0 ? undefined : COMMON.text(this.bytes, this.#at[4 * index + 2]!, this.#at[4 * index + 3]!)
  }

  /** All values of that name joined with a comma, as Envoy matches repeated headers (RFC 9110 §5.3); undefined when absent. */
  joined(name: HeaderName): string | undefined {
    let index = this.find(name)
    if (index < 0) return undefined
    let text = this.value(index)
    while ((index = this.find(name, index + 1)) >= 0) text += `,${this.value(index)}`
    return text
  }

  /** Whether a value is exactly these bytes. */
  is(index: number, wanted: Uint8Array): boolean {
    const start = this.#at[4 * index + 2]!
    if (this.#at[4 * index + 3]! - start !== wanted.length) return false
    for (let i = 0; i < wanted.length; i++) if (this.bytes[start + i] !== wanted[i]) return false
    return true
  }

  /**
   * A decimal value; beyond 2⁵³ it is not exact any more. −1: absent; −2: no plain decimal number, or repeated with another value.
   */
  decimal(name: HeaderName): number {
    const index = this.find(name)
    if (index < 0) return -1
    const start = this.#at[4 * index + 2]!
    const end = this.#at[4 * index + 3]!
    if (start === end) return -2
    let number = 0
    for (let i = start; i < end; i++) {
      const digit = this.bytes[i]! - 0x30
      if (digit < 0 || digit > 9) return -2
      number = number * 10 + digit
    }
    for (let other = this.find(name, index + 1); other >= 0; other = this.find(name, other + 1)) {
      if (this.value(other) !== this.value(index)) return -2
    }
    return number
  }

  /** Copies bytes that are only lent into memory of the view. */
  keep(): void {
    const { bytes } = this
    const start = this.#start
    const length = this.size
    if (length > MAX_OWN_BYTES) this.bytes = Buffer.from(bytes.subarray(start, start + length))
    else {
      if (this.#own.length < length) this.#own = Buffer.allocUnsafeSlow(OWN_STEP * Math.ceil(length / OWN_STEP))
      this.#own.set(bytes.subarray(start, start + length))
      this.bytes = this.#own
    }
    this.#start = 0
    this.#end = length
    if (start > 0) for (let i = 0; i < 4 * this.count; i++) this.#at[i]! -= start
  }
}
