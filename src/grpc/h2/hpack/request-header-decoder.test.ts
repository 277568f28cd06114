import { describe, expect, it } from '@jest/globals'
import { type Field, PlainEncoder } from './plain-hpack.testing.ts'
import { type HeaderLimits, HeaderResult, RequestHeaderDecoder } from './request-header-decoder.ts'

const LIMITS: HeaderLimits = { maxTableBytes: 4096, maxListBytes: 16_384, maxFields: 100 }
const LITERAL = { as: 'without', nameByIndex: false, huffmanName: false, huffmanValue: true } as const
const INSERTED = { as: 'incremental', nameByIndex: true, huffmanName: true, huffmanValue: true } as const
const INDEXED = { ...INSERTED, as: 'indexed' } as const

const POST: readonly Field[] = [
  [':method', 'POST'],
  [':scheme', 'http'],
  [':path', '/a.B/C'],
  [':authority', 'picker'],
]
const GRPC: readonly Field[] = [
  ['te', 'trailers'],
  ['content-type', 'application/grpc'],
]

function block(fields: readonly Field[]): Buffer {
  const encoder = new PlainEncoder()
  return Buffer.from(fields.flatMap(field => encoder.field(field, LITERAL)))
}

/** The pseudo-headers of `POST` with some replaced (or left out by an empty list), and more fields. */
function request(change: Readonly<Record<string, string | undefined>>, ...more: Field[]): Buffer {
  const pseudo = POST.flatMap(([name, value]): Field[] => {
    const changed = name in change ? change[name] : value
    return changed === undefined ? [] : [[name, changed]]
  })
  return block([...pseudo, ...more])
}

function resultOf(bytes: Buffer, decoder = new RequestHeaderDecoder(LIMITS)): HeaderResult {
  return decoder.decodeRequest(bytes, 0, bytes.length)
}

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

describe('allowed are', () => {
  it.each<[string, Buffer]>([
    ['an authority that is a name of a cluster', request({ ':authority': 'outbound|9002||picker.default.svc' })],
    ['no authority, but a host', request({ ':authority': undefined }, ['host', 'a'])],
    ['neither', request({ ':authority': undefined })],
    ['a host equal to the authority', request({ ':authority': 'a:80' }, ['host', 'a:80'])],
    ['one in another case', request({ ':authority': 'Example.com' }, ['host', 'eXample.com'])],
    ['one with a default port', request({ ':authority': 'a' }, ['host', 'a:80'])],
    ['one without it', request({ ':scheme': 'https', ':authority': 'a:443' }, ['host', 'a'])],
    ['OPTIONS *', request({ ':method': 'OPTIONS', ':path': '*' })],
    ['paths of other schemes', request({ ':scheme': 'urn', ':path': 'x' })],
    ['CONNECT', request({ ':method': 'CONNECT', ':scheme': undefined, ':path': undefined, ':authority': 'a:1' })],
    ['te: trailers, in any case', request({}, ['te', 'Trailers'])],
    ['the same content-length twice', request({}, ['content-length', '7'], ['content-length', '7'])],
    ['empty values', request({}, ['x', ''])],
    ['blanks and tabs inside of values', request({}, ['x', 'a \t b'])],
    ['octets above 127 in values', request({}, ['x', '\u0080\u00ff'])],
    ['all characters of tokens', request({}, ["!#$%&'*+-.^_`|~09az", 'x'])],
  ])('%s', (_, bytes) => {
    expect(resultOf(bytes)).toBe(HeaderResult.OK)
  })
})

const controls = [...Array.from({ length: 32 }, (_, at) => at).filter(code => code !== 9), 127]
const outOfNames = [...Array.from({ length: 33 }, (_, at) => at), ...Buffer.from('"(),/:;<=>?@AZ[\\]{}'), 127, 128, 255]

describe('malformed are', () => {
  it.each<[string, Buffer]>([
    ['no fields at all', block([])],
    ['no :method', request({ ':method': undefined })],
    ['no :scheme', request({ ':scheme': undefined })],
    ['no :path', request({ ':path': undefined })],
    ['an empty :method', request({ ':method': '' })],
    ['an empty :scheme', request({ ':scheme': '' })],
    ['an empty :path', request({ ':path': '' })],
    ['an empty :authority', request({ ':authority': '' })],
    ['a :method that is none', request({ ':method': 'GET ' })],
    ['a :scheme that is none', request({ ':scheme': '1http' })],
    ['a relative :path', request({ ':path': 'a' })],
    ['a relative :path of HTTPS', request({ ':scheme': 'HTTPS', ':path': 'a' })],
    ['a blank in the :path', request({ ':path': '/a b' })],
    ['POST *', request({ ':path': '*' })],
    ['user information in the :authority', request({ ':authority': 'user@host' })],
    ['a blank in the :authority', request({ ':authority': 'a b' })],
    ['user information in host', request({ ':authority': undefined }, ['host', 'user@host'])],
    ['another host than :authority', request({}, ['host', 'other'])],
    ['a host with another port', request({ ':authority': 'a' }, ['host', 'a:81'])],
    ['two hosts', request({ ':authority': undefined }, ['host', 'a'], ['host', 'a'])],
    ['CONNECT with a path', request({ ':method': 'CONNECT', ':scheme': undefined })],
    ['CONNECT with a scheme', request({ ':method': 'CONNECT', ':path': undefined })],
    [
      'CONNECT to nowhere',
      request({ ':method': 'CONNECT', ':scheme': undefined, ':path': undefined, ':authority': undefined }),
    ],
    ['extended CONNECT, which we do not advertise', block([...POST, [':protocol', 'websocket']])],
    ['a pseudo-header of answers', block([...POST, [':status', '200']])],
    ['an unknown pseudo-header', block([...POST, [':x', 'y']])],
    ['a colon for a name', block([...POST, [':', 'y']])],
    ['a pseudo-header behind others', block([...POST.slice(0, 3), ...GRPC, POST[3]!])],
    ...POST.map((field): [string, Buffer] => [`${field[0]} twice`, block([...POST, field])]),
    ['connection', request({}, ['connection', 'close'])],
    ['keep-alive', request({}, ['keep-alive', '1'])],
    ['proxy-connection', request({}, ['proxy-connection', 'x'])],
    ['transfer-encoding', request({}, ['transfer-encoding', 'chunked'])],
    ['upgrade', request({}, ['upgrade', 'h2c'])],
    ['te: gzip', request({}, ['te', 'gzip'])],
    ['te: trailers, gzip', request({}, ['te', 'trailers, gzip'])],
    ['an empty te', request({}, ['te', ''])],
    ['an empty content-length', request({}, ['content-length', ''])],
    ['a negative content-length', request({}, ['content-length', '-1'])],
    ['a content-length with a sign', request({}, ['content-length', '+1'])],
    ['a content-length of two', request({}, ['content-length', '1, 1'])],
    ['a hexadecimal content-length', request({}, ['content-length', '0x1'])],
    ['a content-length no number can hold', request({}, ['content-length', '9007199254740993'])],
    ['two lengths', request({}, ['content-length', '1'], ['content-length', '2'])],
    ['an empty name', request({}, ['', 'x'])],
    ['a value that starts with a blank', request({}, ['x', ' a'])],
    ['a value that ends with a tab', request({}, ['x', 'a\t'])],
    ['a value that is a blank', request({}, ['x', ' '])],
  ])('%s', (_, bytes) => {
    const decoder = new RequestHeaderDecoder(LIMITS)
    expect(resultOf(bytes, decoder)).toBe(HeaderResult.MALFORMED)
    expect(resultOf(block(POST), decoder)).toBe(HeaderResult.OK)
  })

  it.each(outOfNames)('octet %d in a name', code => {
    const octet = String.fromCharCode(code)
    for (const name of [`${octet}x`, `x${octet}`, `x${octet}x`])
      expect(resultOf(request({}, [name, 'y']))).toBe(HeaderResult.MALFORMED)
  })

  it.each(controls)('octet %d in a value', code => {
    const octet = String.fromCharCode(code)
    for (const value of [`${octet}x`, `x${octet}`, `x${octet}x`])
      for (const [name] of [...POST, ['x'], ['cookie'], ['host'], ['content-length']] as const)
        expect(resultOf(name.startsWith(':') ? request({ [name]: value }) : request({}, [name, value]))).toBe(
          HeaderResult.MALFORMED,
        )
  })

  it('also fields of the table, every time, but not what only borrows their names', () => {
    const encoder = new PlainEncoder()
    const decoder = new RequestHeaderDecoder(LIMITS)
    const good = POST.flatMap(field => encoder.field(field, INDEXED))
    expect(resultOf(Buffer.from(good), decoder)).toBe(HeaderResult.OK)
    const pseudo = POST.flatMap(field => encoder.field(field, INDEXED))
    const bad: Field = ['x', 'a\n']
    for (let round = 0; round < 3; round++) {
      const bytes = Buffer.from([...pseudo, ...encoder.field(bad, INDEXED)])
      expect(resultOf(bytes, decoder)).toBe(HeaderResult.MALFORMED)
      pseudo.splice(0, pseudo.length, ...POST.flatMap(field => encoder.field(field, INDEXED)))
    }
    const bytes = Buffer.from([...pseudo, ...encoder.field(['x', 'b'], { ...LITERAL, nameByIndex: true })])
    expect(resultOf(bytes, decoder)).toBe(HeaderResult.OK)
    expect(decoder.headers['x']).toBe('b')
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
