/**
 * HPACK the way the RFC tells it, for tests and as the benchmark's baseline: an array for a table, Huffman bit by bit, an encoder that
 * takes whatever representation it is told to. Shares only the RFC's two tables with the real one.
 */
import { EOS, huffmanCodes } from './huffman-code.ts'
import { STATIC_FIELDS } from './static-table.ts'

export type Field = readonly [name: string, value: string]

/** Octets by their code, with a one in front so that zeros at its start count. */
const octetOfCode = new Map<number, number>()
/** Codes by octet, as digits. */
const codeOfOctet: string[] = []
for (const { symbol, bits, code } of huffmanCodes()) {
  const digits = code.toString(2).padStart(bits, '0')
  octetOfCode.set(Number.parseInt(`1${digits}`, 2), symbol)
  codeOfOctet[symbol] = digits
}

const STATIC = STATIC_FIELDS.map(({ name, value }): Field => [name, value])

class PlainTable {
  capacity = 4096
  readonly entries: Field[] = []

  at(index: number): Field | undefined {
    return index <= STATIC.length ? STATIC[index - 1] : this.entries[index - STATIC.length - 1]
  }

  insert(field: Field): void {
    this.entries.unshift(field)
    this.evict()
  }

  evict(): void {
    while (this.bytes > this.capacity) this.entries.pop()
  }

  get bytes(): number {
    return this.entries.reduce((sum, [name, value]) => sum + name.length + value.length + 32, 0)
  }
}

/** Strings hold one octet a character. Every method throws when the block can't be decoded. */
export class PlainDecoder {
  readonly table = new PlainTable()
  private readonly maxTableBytes: number
  private rest: Uint8Array = new Uint8Array()

  constructor(maxTableBytes = 4096) {
    this.maxTableBytes = maxTableBytes
  }

  decode(block: Uint8Array): Field[] {
    this.rest = block
    const fields: Field[] = []
    let updates = 0
    while (this.rest.length > 0) {
      const first = this.rest[0]!
      if (first >= 0x80) {
        fields.push(this.entry(this.integer(7)))
      } else if (first >= 0x40) {
        const field = this.literal(6)
        this.table.insert(field)
        fields.push(field)
      } else if (first >= 0x20) {
        const capacity = this.integer(5)
        if (fields.length > 0 || ++updates > 2 || capacity > this.maxTableBytes) throw new Error('size update')
        this.table.capacity = capacity
        this.table.evict()
      } else fields.push(this.literal(4))
    }
    return fields
  }

  private entry(index: number): Field {
    const entry = this.table.at(index)
    if (entry === undefined) throw new Error('index')
    return entry
  }

  private literal(prefixBits: number): Field {
    const index = this.integer(prefixBits)
    const name = index === 0 ? this.string() : this.entry(index)[0]
    return [name, this.string()]
  }

  private byte(): number {
    const byte = this.rest[0]
    if (byte === undefined) throw new Error('cut off')
    this.rest = this.rest.subarray(1)
    return byte
  }

  private integer(prefixBits: number): number {
    const most = 2 ** prefixBits - 1
    let value = this.byte() & most
    if (value < most) return value
    for (let factor = 1; factor <= 2 ** 21; factor *= 128) {
      const byte = this.byte()
      value += (byte % 128) * factor
      if (byte < 128) return value
    }
    throw new Error('integer')
  }

  private string(): string {
    const huffman = this.rest[0]! >= 0x80
    const length = this.integer(7)
    if (length > this.rest.length) throw new Error('cut off')
    const bytes = this.rest.subarray(0, length)
    this.rest = this.rest.subarray(length)
    return huffman ? plainHuffmanDecode(bytes) : Buffer.from(bytes).toString('latin1')
  }
}

/** Throws when the code is broken. */
export function plainHuffmanDecode(bytes: Uint8Array): string {
  let text = ''
  let code = 1
  for (const byte of bytes)
    for (let bit = 7; bit >= 0; bit--) {
      code = code * 2 + ((byte >> bit) & 1)
      const octet = octetOfCode.get(code)
      if (octet === undefined) continue
      if (octet === EOS) throw new Error('EOS')
      text += String.fromCharCode(octet)
      code = 1
    }
  // Up to seven ones behind the one in front.
  if (code > 0xff || ((code + 1) & code) !== 0) throw new Error('padding')
  return text
}

export function plainHuffmanEncode(text: string): Uint8Array {
  let digits = ''
  for (let at = 0; at < text.length; at++) digits += codeOfOctet[text.charCodeAt(at)]
  digits += '1'.repeat((8 - (digits.length % 8)) % 8)
  return Uint8Array.from({ length: digits.length / 8 }, (_, at) => Number.parseInt(digits.slice(at * 8, at * 8 + 8), 2))
}

/** How a field is to be written; what is impossible for it is written as a literal. */
export interface Representation {
  readonly as: 'indexed' | 'incremental' | 'without' | 'never'
  readonly nameByIndex: boolean
  readonly huffmanName: boolean
  readonly huffmanValue: boolean
}

export class PlainEncoder {
  readonly table = new PlainTable()

  sizeUpdate(capacity: number): number[] {
    this.table.capacity = capacity
    this.table.evict()
    return integer(0x20, 5, capacity)
  }

  field([name, value]: Field, { as, nameByIndex, huffmanName, huffmanValue }: Representation): number[] {
    const indexOf = (matches: (entry: Field) => boolean) => {
      const count = STATIC.length + this.table.entries.length
      for (let index = 1; index <= count; index++) if (matches(this.table.at(index)!)) return index
      return 0
    }
    const whole = as === 'indexed' ? indexOf(entry => entry[0] === name && entry[1] === value) : 0
    if (whole > 0) return integer(0x80, 7, whole)
    const nameIndex = nameByIndex ? indexOf(entry => entry[0] === name) : 0
    const literalName = nameIndex > 0 ? [] : string(name, huffmanName)
    const rest = [...literalName, ...string(value, huffmanValue)]
    if (as === 'without') return [...integer(0x00, 4, nameIndex), ...rest]
    if (as === 'never') return [...integer(0x10, 4, nameIndex), ...rest]
    this.table.insert([name, value])
    return [...integer(0x40, 6, nameIndex), ...rest]
  }
}

function integer(flags: number, prefixBits: number, value: number): number[] {
  const most = 2 ** prefixBits - 1
  if (value < most) return [flags | value]
  const bytes = [flags | most]
  let left = value - most
  for (; left >= 128; left = Math.floor(left / 128)) bytes.push(128 + (left % 128))
  return [...bytes, left]
}

function string(text: string, huffman: boolean): number[] {
  const bytes = huffman ? plainHuffmanEncode(text) : Buffer.from(text, 'latin1')
  return [...integer(huffman ? 0x80 : 0, 7, bytes.length), ...bytes]
}
