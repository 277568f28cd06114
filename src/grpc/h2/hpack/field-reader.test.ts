import { describe, expect, it } from '@jest/globals'
import { APPENDIX_C } from './appendix-c.testing.ts'
import { FieldKind } from './field-kind.ts'
import { FieldReader, ReadStep } from './field-reader.ts'
import { type Field, PlainEncoder, plainHuffmanEncode } from './plain-hpack.testing.ts'

const AMPLE = 1 << 20

/** All fields of a block, undefined when it can't be decoded. */
function read(reader: FieldReader, block: Uint8Array | string, budget = AMPLE): Field[] | undefined {
  const bytes = typeof block === 'string' ? Buffer.from(block, 'hex') : block
  const fields: Field[] = []
  if (!reader.start(bytes, 0, bytes.length)) return undefined
  for (;;) {
    const step = reader.next(budget)
    if (step === ReadStep.END) return fields
    if (step === ReadStep.ERROR) return undefined
    fields.push([reader.name, reader.value])
  }
}

/** The dynamic table, newest first. */
function entries(reader: FieldReader): Field[] {
  const found: Field[] = []
  for (let index = 62; ; index++) {
    const entry = reader.table.at(index)
    if (entry === undefined) return found
    found.push([entry.name, entry.value])
  }
}

const hex = (text: string) => Buffer.from(text, 'latin1').toString('hex')
/** A literal without indexing, whose name and value are given with their lengths. */
const raw = (name: string, value: string) =>
  `00${name.length.toString(16).padStart(2, '0')}${hex(name)}${value.length.toString(16).padStart(2, '0')}${hex(value)}`

describe('RFC 7541 appendix C', () => {
  it.each(APPENDIX_C)('$section', ({ capacity, examples }) => {
    const reader = new FieldReader(4096)
    reader.table.resize(capacity)
    for (const { block, fields, table, tableBytes } of examples) {
      expect(read(reader, block)).toEqual(fields)
      expect(entries(reader)).toEqual(table)
      expect(table.reduce((sum, [name, value]) => sum + name.length + value.length + 32, 0)).toBe(tableBytes)
    }
  })

  it.each(APPENDIX_C)('$section, cut anywhere, is an error or the fields before the cut', ({ capacity, examples }) => {
    for (const [at, { block, fields }] of examples.entries()) {
      for (let length = 0; length < block.length / 2; length++) {
        const reader = new FieldReader(4096)
        reader.table.resize(capacity)
        for (const before of examples.slice(0, at)) read(reader, before.block)
        const found = read(reader, block.slice(0, length * 2))
        if (found !== undefined) {
          expect(found.length).toBeLessThan(fields.length)
          expect(found).toEqual(fields.slice(0, found.length))
        }
      }
    }
  })
})

describe('integers', () => {
  // A table size in a prefix of five bits: C.1.2 and its neighbours.
  it.each([
    ['3e', 30],
    ['3f00', 31],
    ['3f01', 32],
    ['3f9a0a', 1337],
    // Zeros that say nothing are allowed.
    ['3f9a8a00', 1337],
    ['3f9a8a8000', 1337],
    ['3f80808000', 31],
  ])('%s is %d', (block, size) => {
    const reader = new FieldReader(4096)
    expect(read(reader, block)).toEqual([])
    expect(reader.table.capacity).toBe(size)
  })

  it.each(['3f', '3f80', '3f808080', '3f8080808000', '3fffffffffffffffffff7f', '3fe1ffffff7f'])(
    '%s is an error',
    block => {
      expect(read(new FieldReader(1 << 30), block)).toBeUndefined()
    },
  )
})

describe('indices', () => {
  it.each(['80', 'be', 'ff8000', 'ffffffff7f', '00', '7f', '0f', '1f', '7f0000', '0f2f00', '1f2f00'])(
    '%s is an error',
    block => {
      expect(read(new FieldReader(4096), block)).toBeUndefined()
    },
  )

  it('61 is the last static one, 62 the newest of the dynamic table', () => {
    const reader = new FieldReader(4096)
    expect(read(reader, 'bd')).toEqual([['www-authenticate', '']])
    read(reader, `40${raw('a', '1').slice(2)}`)
    read(reader, `40${raw('b', '2').slice(2)}`)
    expect(read(reader, 'bebf')).toEqual([
      ['b', '2'],
      ['a', '1'],
    ])
    expect(read(reader, 'c0')).toBeUndefined()
  })
})

describe('table size updates', () => {
  it('evict, and let the table grow again', () => {
    const reader = new FieldReader(4096)
    read(reader, `40${raw('a', '1').slice(2)}`)
    expect(read(reader, '203fe11f')).toEqual([])
    expect(entries(reader)).toEqual([])
    expect(reader.table.capacity).toBe(4096)
  })

  it.each([
    ['behind a field', '8220'],
    ['three of them', '202020'],
    ['above what we advertised', '3fe21f'],
    ['far above', '3fffffff7f'],
  ])('%s: an error', (_, block) => {
    expect(read(new FieldReader(4096), block)).toBeUndefined()
  })

  it('start from the default, whatever we advertise', () => {
    const small = new FieldReader(0)
    read(small, `40${raw('a', '1').slice(2)}`)
    expect(entries(small)).toEqual([['a', '1']])
    expect(read(small, '21')).toBeUndefined()
    const large = new FieldReader(65_536)
    expect(large.table.capacity).toBe(4096)
    expect(read(large, '3fe1ff03')).toEqual([])
    expect(large.table.capacity).toBe(65_536)
  })

  it('to nothing keep everything out', () => {
    const reader = new FieldReader(4096)
    expect(read(reader, `2040${raw('a', '1').slice(2)}`)).toEqual([['a', '1']])
    expect(entries(reader)).toEqual([])
  })
})

describe('the dynamic table', () => {
  it('takes an entry of exactly its size, and is emptied by a larger one, which is no error', () => {
    const reader = new FieldReader(4096)
    reader.table.resize(64)
    const block = (length: number) => Uint8Array.from([0x40, 1, 0x61, length, ...Buffer.alloc(length, 'x')])
    expect(read(reader, block(31))).toEqual([['a', 'x'.repeat(31)]])
    expect(entries(reader)).toHaveLength(1)
    expect(read(reader, block(32))).toEqual([['a', 'x'.repeat(32)]])
    expect(entries(reader)).toHaveLength(0)
  })

  it('lends a name to the entry that evicts it (§4.4)', () => {
    const reader = new FieldReader(4096)
    reader.table.resize(80)
    read(reader, `40${raw('long-name', 'old').slice(2)}`)
    // Index 62, a new value: 9 + 30 + 32 octets leave no room for both.
    expect(read(reader, `7e1e${hex('n'.repeat(30))}`)).toEqual([['long-name', 'n'.repeat(30)]])
    expect(entries(reader)).toEqual([['long-name', 'n'.repeat(30)]])
  })

  it('keeps its order over many turns of its ring', () => {
    const reader = new FieldReader(4096)
    const encoder = new PlainEncoder()
    const how = { as: 'incremental', nameByIndex: false, huffmanName: false, huffmanValue: true } as const
    for (let n = 0; n < 300; n++) {
      const field: Field = [`n${n}`, 'v'.repeat(n % 47)]
      expect(read(reader, Uint8Array.from(encoder.field(field, how)))).toEqual([field])
      expect(entries(reader)).toEqual(encoder.table.entries)
    }
  })
})

describe('strings', () => {
  it('of octets above 127 keep them', () => {
    expect(read(new FieldReader(4096), raw('a', '\u00e9\u00ff\u0080'))).toEqual([['a', '\u00e9\u00ff\u0080']])
  })

  it('come from a part of a larger Uint8Array too', () => {
    const block = Buffer.from(`ffff${raw('a', 'b')}ffff`, 'hex')
    const bytes = new Uint8Array([0, ...block]).subarray(1)
    const reader = new FieldReader(4096)
    expect(reader.start(bytes, 2, bytes.length - 2)).toBe(true)
    expect(reader.next(AMPLE)).toBe(ReadStep.FIELD)
    expect([reader.name, reader.value]).toEqual(['a', 'b'])
    expect(reader.next(AMPLE)).toBe(ReadStep.END)
  })

  it('may be longer than the scratch buffer was so far', () => {
    const value = 'e'.repeat(50_000)
    const bytes = plainHuffmanEncode(value)
    const size = bytes.length - 127
    const block = Uint8Array.from([
      0,
      1,
      0x61,
      0xff,
      0x80 | (size & 127),
      0x80 | ((size >> 7) & 127),
      size >> 14,
      ...bytes,
    ])
    expect(read(new FieldReader(4096), block)).toEqual([['a', value]])
  })

  it('over the budget are counted and left out, but not for the table', () => {
    const reader = new FieldReader(4096)
    const bytes = Buffer.from(raw('name', 'v'.repeat(100)), 'hex')
    reader.start(bytes, 0, bytes.length)
    expect(reader.next(103)).toBe(ReadStep.FIELD)
    expect([reader.name, reader.value, reader.size]).toEqual(['name', '', 136])
    expect(read(reader, bytes, 104)).toEqual([['name', 'v'.repeat(100)]])
    bytes[0] = 0x40
    read(reader, bytes, 0)
    expect(entries(reader)).toEqual([['name', 'v'.repeat(100)]])
  })

  it('that came before with the same name are recognised by their bytes, and by nothing less', () => {
    const reader = new FieldReader(4096)
    const path = (value: string) => `04${value.length.toString(16).padStart(2, '0')}${hex(value)}`
    const huffman = (value: string) => {
      const bytes = plainHuffmanEncode(value)
      return `04${(0x80 | bytes.length).toString(16)}${Buffer.from(bytes).toString('hex')}`
    }
    const asRaw = Buffer.from(plainHuffmanEncode('/aaaaaaa')).toString('latin1')
    for (const [block, value] of [
      [path('/a'), '/a'],
      [path('/a'), '/a'],
      [path('/b'), '/b'],
      [path('/ba'), '/ba'],
      [path(''), ''],
      [path(''), ''],
      [huffman('/aaaaaaa'), '/aaaaaaa'],
      [huffman('/aaaaaaa'), '/aaaaaaa'],
      // The same octets, not as a Huffman code.
      [path(asRaw), asRaw],
      [huffman('/aaaaaaa'), '/aaaaaaa'],
      [path('/'.repeat(120)), '/'.repeat(120)],
      [path('/'.repeat(120)), '/'.repeat(120)],
    ] as const)
      expect(read(reader, block)).toEqual([[':path', value]])
    // Index 5 is a :path too, index 7 a :scheme; 62 was not there.
    expect(read(reader, `05${path('/a').slice(2)}`)).toEqual([[':path', '/a']])
    expect(read(reader, `07${path('/a').slice(2)}`)).toEqual([[':scheme', '/a']])
    expect(reader.kind).toBe(FieldKind.MALFORMED)
    expect(read(reader, path('/a'))).toEqual([[':path', '/a']])
    expect(reader.kind).toBe(FieldKind.PATH)
    // What was left out because of its length is not remembered as empty.
    const long = path('/'.repeat(100))
    const bytes = Buffer.from(long, 'hex')
    reader.start(bytes, 0, bytes.length)
    reader.next(10)
    expect(read(reader, long)).toEqual([[':path', '/'.repeat(100)]])
  })
})
