/** Reads the fields of header blocks one by one, and keeps the dynamic table (RFC 7541). */
import { FieldKind, kindOfField, kindOfName } from './field-kind.ts'
import { FIELD_OVERHEAD, FieldTable, STATIC_ENTRIES } from './field-table.ts'
import { decodeHuffman } from './huffman-decode.ts'
import { RememberedBytes } from './remembered-bytes.ts'

export const ReadStep = {
  /** The reader's properties hold a field. */
  FIELD: 0,
  END: 1,
  /** The block can't be decoded; the table is of no more use, nor is the connection. */
  ERROR: 2,
} as const
export type ReadStep = (typeof ReadStep)[keyof typeof ReadStep]

/** What a table may hold before its encoder says otherwise, whatever we advertise (RFC 9113 §6.5.2). */
const INITIAL_TABLE_BYTES = 4096

/** Octets of an integer behind its prefix: values up to 2^28, far above what a block can hold. */
const MAX_INTEGER_OCTETS = 4

/** A lowered and a final size may be announced at the start of a block (RFC 7541 §4.2). */
const MAX_SIZE_UPDATES = 2

/** Where strings are decoded, for all connections of the thread. Grows to what a reader's caller allows for one string. */
let scratch = Buffer.allocUnsafeSlow(1024)

interface RecentLiteral {
  readonly bytes: RememberedBytes
  huffman: boolean
  value: string
  kind: FieldKind
}

export class FieldReader {
  readonly table = new FieldTable(INITIAL_TABLE_BYTES)
  private readonly maxTableBytes: number

  /** The field read last. A name or value that was over the budget may be empty. */
  name = ''
  value = ''
  kind: FieldKind = FieldKind.MALFORMED
  /** Octets of name and value, and `FIELD_OVERHEAD`; true in any case. */
  size = 0

  private block: Buffer = scratch
  private at = 0
  private end = 0

  /** The string read last: whether it is Huffman-coded, where it starts, its octets (also when they were not wanted). */
  private huffman = false
  private stringAt = 0
  private text = ''
  private length = 0

  /**
   * The literals that came last with the static table's names. Envoy (nghttp2) never indexes `:path`, the bulk of its requests and
   * nearly always the same.
   */
  private readonly recent: (RecentLiteral | undefined)[] = Array.from({ length: STATIC_ENTRIES + 1 })

  /** `maxTableBytes` as advertised by SETTINGS_HEADER_TABLE_SIZE. */
  constructor(maxTableBytes: number) {
    this.maxTableBytes = maxTableBytes
  }

  /** Begins a block and reads the table size updates at its start. False: it can't be decoded. */
  start(block: Uint8Array, start: number, end: number): boolean {
    this.block = Buffer.isBuffer(block) ? block : Buffer.from(block.buffer, block.byteOffset, block.byteLength)
    this.at = start
    this.end = end
    for (let updates = 0; this.at < end && (block[this.at]! & 0xe0) === 0x20; updates++) {
      const capacity = this.integer(0x1f)
      if (capacity < 0 || capacity > this.maxTableBytes || updates === MAX_SIZE_UPDATES) return false
      this.table.resize(capacity)
    }
    return true
  }

  /**
   * Reads the next field. `budget`: octets up to which its strings are wanted. Longer ones are decoded only as far as the table
   * needs them, whose size bounds them.
   */
  next(budget: number): ReadStep {
    if (this.at === this.end) return ReadStep.END
    const first = this.block[this.at]!
    if ((first & 0x80) !== 0) return this.indexed()
    if ((first & 0x40) !== 0) return this.literal(0x3f, Math.max(budget, this.table.capacity), true, false)
    // A size update behind a field.
    if ((first & 0x20) !== 0) return ReadStep.ERROR
    // Not to be indexed; or never, which is said of secrets: nothing of them is kept.
    return this.literal(0x0f, budget, false, (first & 0x10) === 0)
  }

  private indexed(): ReadStep {
    const index = this.integer(0x7f)
    const entry = index < 0 ? undefined : this.table.at(index)
    if (entry === undefined) return ReadStep.ERROR
    this.name = entry.name
    this.value = entry.value
    this.kind = entry.kind
    this.size = entry.size
    return ReadStep.FIELD
  }

  private literal(prefix: number, budget: number, insert: boolean, mayRepeat: boolean): ReadStep {
    const index = this.integer(prefix)
    if (index < 0) return ReadStep.ERROR
    let name: string
    let nameKind: FieldKind
    let nameLength: number
    let repeats = false
    if (index === 0) {
      if (!this.stringHead() || !this.stringText(budget)) return ReadStep.ERROR
      name = this.text
      nameLength = this.length
      nameKind = kindOfName(name)
    } else {
      const entry = this.table.at(index)
      if (entry === undefined) return ReadStep.ERROR
      name = entry.name
      nameLength = name.length
      nameKind = entry.nameKind
      repeats = mayRepeat && index <= STATIC_ENTRIES
    }
    if (!this.stringHead()) return ReadStep.ERROR
    const recent = repeats ? this.recent[index] : undefined
    if (recent?.huffman === this.huffman && recent.bytes.equal(this.block, this.stringAt, this.at)) {
      this.value = recent.value
      this.kind = recent.kind
      this.length = recent.value.length
    } else {
      if (!this.stringText(budget - nameLength)) return ReadStep.ERROR
      this.value = this.text
      this.kind = kindOfField(nameKind, this.text)
      if (repeats && this.length === this.text.length) this.remember(index)
    }
    this.name = name
    this.size = nameLength + this.length + FIELD_OVERHEAD
    if (insert) this.table.insert(name, nameKind, this.value, this.kind, this.size)
    return ReadStep.FIELD
  }

  private remember(index: number): void {
    const { huffman, value, kind } = this
    const recent = (this.recent[index] ??= { bytes: new RememberedBytes(), huffman, value, kind })
    recent.bytes.remember(this.block, this.stringAt, this.at)
    recent.huffman = huffman
    recent.value = value
    recent.kind = kind
  }

  /** An integer (§5.1) whose first octet has `prefix` for it, a mask. -1: cut off, or longer than any that makes sense. */
  private integer(prefix: number): number {
    let value = this.block[this.at++]! & prefix
    if (value < prefix) return value
    for (let octet = 0; octet < MAX_INTEGER_OCTETS && this.at < this.end; octet++) {
      const byte = this.block[this.at++]!
      value += (byte & 0x7f) << (octet * 7)
      if ((byte & 0x80) === 0) return value
    }
    return -1
  }

  /** Reads a string's flag and length (§5.2), and steps over its octets, [stringAt, at). False: it is cut off. */
  private stringHead(): boolean {
    if (this.at === this.end) return false
    this.huffman = (this.block[this.at]! & 0x80) !== 0
    const encoded = this.integer(0x7f)
    if (encoded < 0 || encoded > this.end - this.at) return false
    this.stringAt = this.at
    this.at += encoded
    return true
  }

  /** The string stepped over, of which up to `wanted` octets are of use. False: a broken Huffman code. */
  private stringText(wanted: number): boolean {
    this.text = ''
    const encoded = this.at - this.stringAt
    if (!this.huffman) {
      this.length = encoded
      if (encoded > 0 && encoded <= wanted) this.text = this.block.toString('latin1', this.stringAt, this.at)
      return true
    }
    // The shortest codes have five bits.
    const longest = Math.min(wanted, Math.floor((encoded * 8) / 5))
    if (scratch.length < longest) scratch = Buffer.allocUnsafeSlow(longest)
    this.length = decodeHuffman(this.block, this.stringAt, this.at, scratch)
    if (this.length > 0 && this.length <= wanted) this.text = scratch.toString('latin1', 0, this.length)
    return this.length >= 0
  }
}
