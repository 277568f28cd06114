/** What a `JsonScanner` has found so far: one record per node of its program, in flat arrays that a reset clears. */
import { isUtf8 } from 'node:buffer'
import type { ScanProgram } from './json-program.ts'
import { TextCache } from './text-cache.ts'

export const FieldType = {
  ABSENT: 0,
  STRING: 1,
  NUMBER: 2,
  TRUE: 3,
  FALSE: 4,
  NULL: 5,
  OBJECT: 6,
  ARRAY: 7,
} as const
export type FieldType = (typeof FieldType)[keyof typeof FieldType]

const LITERAL_TEXT: Partial<Record<FieldType, string>> = {
  [FieldType.TRUE]: 'true',
  [FieldType.FALSE]: 'false',
  [FieldType.NULL]: 'null',
}

const BACKSLASH = 0x5c
const FIRST_PRINTABLE = 0x20
const TEXTS = new TextCache()

/** All but `count` describe the first occurrence of a node's value. Offsets are bytes from the start of the body. */
export class FieldTable {
  readonly types: Uint8Array
  readonly counts: Uint32Array
  readonly starts: Float64Array
  /** After the last byte; -1: not complete. */
  readonly ends: Float64Array
  /** Whether the value being read is kept as text, so that its bytes must be appended. */
  capturing = false

  readonly #program: ScanProgram
  readonly #texts: (string | undefined)[]
  readonly #tooLong: Uint8Array
  /** Raw text of all kept values, one after the other. */
  #kept = Buffer.allocUnsafe(256)
  #keptBytes = 0
  readonly #keptStarts: Int32Array
  readonly #keptEnds: Int32Array
  #escaped = false
  #control = false
  #ascii = true

  constructor(program: ScanProgram) {
    const size = program.nodes.length
    this.#program = program
    this.types = new Uint8Array(size)
    this.counts = new Uint32Array(size)
    this.starts = new Float64Array(size).fill(-1)
    this.ends = new Float64Array(size).fill(-1)
    this.#tooLong = new Uint8Array(size)
    this.#keptStarts = new Int32Array(size)
    this.#keptEnds = new Int32Array(size)
    this.#texts = Array.from<string | undefined>({ length: size })
  }

  reset(): void {
    for (let node = 0; node < this.types.length; node++) {
      this.types[node] = FieldType.ABSENT
      this.counts[node] = 0
      this.starts[node] = -1
      this.ends[node] = -1
      this.#tooLong[node] = 0
      this.#texts[node] = undefined
    }
    this.capturing = false
    this.#keptBytes = 0
  }

  /** A value of `node` starts. Returns whether it is the first. */
  begin(node: number, type: FieldType, offset: number): boolean {
    if (this.counts[node]!++ > 0) return false
    this.types[node] = type
    this.starts[node] = offset
    if (this.#program.nodes[node]!.text && (type === FieldType.STRING || type === FieldType.NUMBER)) {
      this.capturing = true
      this.#keptStarts[node] = this.#keptBytes
      this.#escaped = false
      this.#control = false
      this.#ascii = true
    }
    return true
  }

  /** More bytes of the value being kept (a string's quotes are not part of it). */
  append(node: number, chunk: Uint8Array, start: number, end: number): void {
    if (this.#tooLong[node] === 1) return
    const bytes = end - start
    if (this.#keptBytes - this.#keptStarts[node]! + bytes > this.#program.maxTextBytes) {
      this.#tooLong[node] = 1
      this.#keptBytes = this.#keptStarts[node]!
      return
    }
    let to = this.#keptBytes
    if (to + bytes > this.#kept.length) this.#grow(to + bytes)
    const kept = this.#kept
    for (let from = start; from < end; from++) {
      const byte = chunk[from]!
      if (byte === BACKSLASH) this.#escaped = true
      else if (byte < FIRST_PRINTABLE) this.#control = true
      else if (byte >= 0x80) this.#ascii = false
      kept[to++] = byte
    }
    this.#keptBytes = to
  }

  /** The value of `node` is complete. False: it was kept as text, and is no JSON string. */
  end(node: number, offset: number): boolean {
    if (this.ends[node] !== -1) return true
    this.ends[node] = offset
    if (!this.capturing) return true
    this.capturing = false
    this.#keptEnds[node] = this.#keptBytes
    if (this.#tooLong[node] === 1) return true
    if (this.#control) return false
    if (!this.#ascii && !isUtf8(this.#kept.subarray(this.#keptStarts[node], this.#keptBytes))) return false
    if (!this.#escaped) return true
    const text = unescape(this.#kept.toString('utf8', this.#keptStarts[node], this.#keptBytes))
    this.#texts[node] = text
    return text !== undefined
  }

  text(node: number): string {
    if (this.ends[node] === -1 || this.#tooLong[node] === 1 || !this.#program.nodes[node]!.text) return ''
    return (this.#texts[node] ??= this.#decode(node))
  }

  tooLong(node: number): boolean {
    return this.#tooLong[node] === 1
  }

  repeated(node: number): boolean {
    for (let at = node; at >= 0; at = this.#program.nodes[at]!.parent) if (this.counts[at]! > 1) return true
    return false
  }

  #decode(node: number): string {
    const type = this.types[node] as FieldType
    if (type === FieldType.STRING || type === FieldType.NUMBER)
      return TEXTS.text(this.#kept, this.#keptStarts[node]!, this.#keptEnds[node]!)
    return LITERAL_TEXT[type] ?? ''
  }

  #grow(bytes: number): void {
    const grown = Buffer.allocUnsafe(Math.max(bytes, 2 * this.#kept.length))
    this.#kept.copy(grown, 0, 0, this.#keptBytes)
    this.#kept = grown
  }
}

/** Text of a JSON string without its quotes; undefined when an escape in it is wrong. */
export function unescape(raw: string): string | undefined {
  try {
    return JSON.parse(`"${raw}"`) as string
  } catch {
    return undefined
  }
}
