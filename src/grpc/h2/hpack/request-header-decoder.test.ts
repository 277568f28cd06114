import { describe, expect, it } from '@jest/globals'
import { type Field, PlainEncoder } from './plain-hpack.testing.ts'
import { block, GRPC, INDEXED, INSERTED, LIMITS, LITERAL, POST, resultOf } from './request-blocks.testing.ts'
import { HeaderResult, RequestHeaderDecoder } from './request-header-decoder.ts'

function decoded(fields: readonly Field[]): Readonly<Record<string, unknown>> {
  const decoder = new RequestHeaderDecoder(LIMITS)
  expect(resultOf(block(fields), decoder)).toBe(HeaderResult.OK)
  return { ...decoder.headers }
}

describe('a request', () => {
  it('becomes an object of its fields', () => {
    expect(decoded([...POST, ...GRPC])).toEqual(Object.fromEntries([...POST, ...GRPC]))
  })

  it('joins what comes more than once', () => {
    const headers = decoded([...POST, ['x', '1'], ['cookie', 'a=b'], ['x', ''], ['cookie', 'c=d'], ['x', '2']])
    expect(headers['x']).toBe('1, , 2')
    expect(headers['cookie']).toBe('a=b; c=d')
  })

  it('may name its fields like properties of Object', () => {
    const names = ['__proto__', 'constructor', 'tostring', 'hasownproperty']
    const decoder = new RequestHeaderDecoder(LIMITS)
    expect(decoder.decodeRequest(block(POST), 0, block(POST).length)).toBe(HeaderResult.OK)
    for (const name of [...names, 'toString']) expect(decoder.headers[name]).toBeUndefined()
    expect(resultOf(block([...POST, ...names.map((name): Field => [name, 'x'])]), decoder)).toBe(HeaderResult.OK)
    for (const name of names) expect(Object.hasOwn(decoder.headers, name)).toBe(true)
    expect(decoder.headers['__proto__']).toBe('x')
    expect(({} as Record<string, unknown>)['x']).toBeUndefined()
  })

  it('is frozen', () => {
    const decoder = new RequestHeaderDecoder(LIMITS)
    resultOf(block(POST), decoder)
    expect(Object.isFrozen(decoder.headers)).toBe(true)
  })
})

describe('trailers', () => {
  const trailers = (...fields: Field[]) => {
    const bytes = block(fields)
    return new RequestHeaderDecoder(LIMITS).decodeTrailers(bytes, 0, bytes.length)
  }

  it('are fields', () => {
    expect(trailers()).toBe(HeaderResult.OK)
    expect(trailers(['grpc-status', '0'], ['x', ''], ['x', 'y'])).toBe(HeaderResult.OK)
  })

  it('have no pseudo-headers and obey the same rules', () => {
    expect(trailers([':path', '/'])).toBe(HeaderResult.MALFORMED)
    expect(trailers([':status', '200'])).toBe(HeaderResult.MALFORMED)
    expect(trailers(['X', 'y'])).toBe(HeaderResult.MALFORMED)
    expect(trailers(['connection', 'close'])).toBe(HeaderResult.MALFORMED)
    expect(trailers(['x', 'a\0'])).toBe(HeaderResult.MALFORMED)
  })

  it('obey the limits', () => {
    expect(trailers(...Array.from({ length: 101 }, (): Field => ['x', 'y']))).toBe(HeaderResult.TOO_LARGE)
    expect(trailers(['x', 'y'.repeat(16_384)])).toBe(HeaderResult.TOO_LARGE)
  })

  it('keep the table, and do not touch the headers', () => {
    const encoder = new PlainEncoder()
    const decoder = new RequestHeaderDecoder(LIMITS)
    resultOf(block(POST), decoder)
    const { headers } = decoder
    const bytes = Buffer.from(encoder.field(['x', 'y'], INSERTED))
    expect(decoder.decodeTrailers(bytes, 0, bytes.length)).toBe(HeaderResult.OK)
    expect(decoder.headers).toBe(headers)
    const next = Buffer.from([...block(POST), ...encoder.field(['x', 'y'], INDEXED)])
    expect(resultOf(next, decoder)).toBe(HeaderResult.OK)
    expect(decoder.headers['x']).toBe('y')
  })
})

describe('limits', () => {
  const sizeOf = (fields: readonly Field[]) =>
    fields.reduce((sum, [name, value]) => sum + name.length + value.length + 32, 0)

  it('count names, values and 32 a field', () => {
    const maxListBytes = sizeOf(POST)
    expect(resultOf(block(POST), new RequestHeaderDecoder({ ...LIMITS, maxListBytes }))).toBe(HeaderResult.OK)
    const less = new RequestHeaderDecoder({ ...LIMITS, maxListBytes: maxListBytes - 1 })
    expect(resultOf(block(POST), less)).toBe(HeaderResult.TOO_LARGE)
  })

  it('count fields', () => {
    expect(resultOf(block(POST), new RequestHeaderDecoder({ ...LIMITS, maxFields: 4 }))).toBe(HeaderResult.OK)
    expect(resultOf(block(POST), new RequestHeaderDecoder({ ...LIMITS, maxFields: 3 }))).toBe(HeaderResult.TOO_LARGE)
  })

  it('leave the table in step', () => {
    const encoder = new PlainEncoder()
    const decoder = new RequestHeaderDecoder({ ...LIMITS, maxListBytes: 1000 })
    const large: Field[] = Array.from({ length: 40 }, (_, at): Field => [`n${at}`, 'v'.repeat(at * 40)])
    const bytes = Buffer.from([...POST, ...large].flatMap(field => encoder.field(field, INSERTED)))
    expect(resultOf(bytes, decoder)).toBe(HeaderResult.TOO_LARGE)
    // The newest entry that the table holds is one that came long after the limit.
    const last = encoder.table.entries[0]!
    expect(last[0]).toBe('n39')
    const fields = [...POST, ['n38', 'x'] as const]
    const next = Buffer.from(fields.flatMap(field => encoder.field(field, { ...INDEXED, as: 'without' })))
    expect(resultOf(next, decoder)).toBe(HeaderResult.OK)
    expect({ ...decoder.headers }).toEqual(Object.fromEntries(fields))
  })

  it('hold against a bomb: a large entry named again and again', () => {
    const decoder = new RequestHeaderDecoder(LIMITS)
    const encoder = new PlainEncoder()
    const entry: Field = ['x', 'y'.repeat(4000)]
    const head = POST.flatMap(field => encoder.field(field, LITERAL))
    const bomb = Buffer.concat([Buffer.from([...head, ...encoder.field(entry, INSERTED)]), Buffer.alloc(16_000, 0xbe)])
    expect(resultOf(bomb, decoder)).toBe(HeaderResult.TOO_LARGE)
    // Sixteen thousand times 4 KB would show.
    expect(JSON.stringify(decoder.headers).length).toBeLessThan(100)
    expect(resultOf(Buffer.from([...head, 0xbe]), decoder)).toBe(HeaderResult.OK)
    expect(decoder.headers['x']).toBe(entry[1])
  })

  it('do not hide a broken block behind them', () => {
    const decoder = new RequestHeaderDecoder({ ...LIMITS, maxFields: 1 })
    expect(resultOf(Buffer.concat([block(POST), Buffer.from('80', 'hex')]), decoder)).toBe(
      HeaderResult.COMPRESSION_ERROR,
    )
  })
})

describe('the same bytes again', () => {
  const decoder = () => new RequestHeaderDecoder(LIMITS)

  it('give the same object', () => {
    const it = decoder()
    resultOf(block(POST), it)
    const { headers } = it
    expect(resultOf(Buffer.concat([Buffer.from([1, 2]), block(POST)]).subarray(2), it)).toBe(HeaderResult.OK)
    expect(it.headers).toBe(headers)
    const inside = Buffer.concat([Buffer.from([1, 2]), block(POST), Buffer.from([3])])
    it.decodeRequest(inside, 2, inside.length - 1)
    expect(it.headers).toBe(headers)
  })

  it('are not remembered by the caller’s buffer', () => {
    const it = decoder()
    const bytes = block(POST)
    resultOf(bytes, it)
    bytes.fill(0)
    expect(resultOf(bytes, it)).not.toBe(HeaderResult.OK)
    expect(resultOf(block(POST), it)).toBe(HeaderResult.OK)
  })

  it('mean something else when the table has changed', () => {
    const it = decoder()
    const encoder = new PlainEncoder()
    const pseudo = POST.flatMap(field => encoder.field(field, LITERAL))
    const named = Buffer.from([...pseudo, 0xbe])
    const insert = (value: string) => resultOf(Buffer.from([...pseudo, ...encoder.field(['x', value], INSERTED)]), it)
    for (const value of ['1', '2', '3']) {
      expect(insert(value)).toBe(HeaderResult.OK)
      for (let again = 0; again < 2; again++) {
        expect(resultOf(named, it)).toBe(HeaderResult.OK)
        expect(it.headers['x']).toBe(value)
      }
    }
    expect(resultOf(Buffer.from([0x20, ...pseudo]), it)).toBe(HeaderResult.OK)
    expect(resultOf(named, it)).toBe(HeaderResult.COMPRESSION_ERROR)
  })

  it('insert again when they insert', () => {
    const it = decoder()
    const encoder = new PlainEncoder()
    const bytes = Buffer.from(POST.flatMap(field => encoder.field(field, INSERTED)))
    resultOf(bytes, it)
    resultOf(bytes, it)
    // :method, :scheme, :path, :authority, twice.
    const indices = Buffer.from([0xc5, 0xc4, 0xc3, 0xc2])
    expect(resultOf(indices, it)).toBe(HeaderResult.OK)
    expect({ ...it.headers }).toEqual(Object.fromEntries(POST))
  })

  it('are kept for a few kinds of requests', () => {
    const it = decoder()
    const blocks = Array.from({ length: 9 }, (_, at) => block([...POST, ['x', String(at)]]))
    for (let round = 0; round < 3; round++)
      for (const [at, bytes] of blocks.entries()) {
        expect(resultOf(bytes, it)).toBe(HeaderResult.OK)
        expect(it.headers['x']).toBe(String(at))
      }
  })
})
