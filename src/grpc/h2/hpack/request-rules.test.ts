import { describe, expect, it } from '@jest/globals'
import { type Field, PlainEncoder } from './plain-hpack.testing.ts'
import { block, GRPC, INDEXED, LIMITS, LITERAL, POST, resultOf } from './request-blocks.testing.ts'
import { HeaderResult, RequestHeaderDecoder } from './request-header-decoder.ts'

/** The pseudo-headers of `POST` with some replaced (or left out by an empty list), and more fields. */
function request(change: Readonly<Record<string, string | undefined>>, ...more: Field[]): Buffer {
  const pseudo = POST.flatMap(([name, value]): Field[] => {
    const changed = name in change ? change[name] : value
    return changed === undefined ? [] : [[name, changed]]
  })
  return block([...pseudo, ...more])
}

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
