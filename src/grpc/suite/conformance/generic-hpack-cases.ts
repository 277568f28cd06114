/** h2spec's group `generic`, section 5: HPACK representations that every server must take. */
import { headers } from '../frames.ts'
import { END_STREAM, hpackString } from '../raw-http2-client.ts'
import { answered } from './conformance-case.ts'
import type { ConformanceCase, RequestForm } from './conformance-case.ts'

/** `user-agent`, `x-test` and `h2spec` in the Huffman code of RFC 7541 appendix B, with their lengths. */
const USER_AGENT = Buffer.from('87b505b161cc5a93', 'hex')
export const X_TEST = Buffer.from('85f2b24a84ff', 'hex')
const VALUE = Buffer.from('849c48aca4', 'hex')

const INDEXED = 0x40
const NOT_INDEXED = 0
const NEVER_INDEXED = 0x10

export function genericHpackCases(request: RequestForm): readonly ConformanceCase[] {
  const behind = (field: Buffer) => [headers(1, Buffer.concat([request.bodiless(), field]), END_STREAM), answered(1)]
  const before = (update: string) => [
    headers(1, Buffer.concat([Buffer.from(update, 'hex'), request.bodiless()]), END_STREAM),
    answered(1),
  ]
  const known = hpackString('user-agent')
  const fresh = hpackString('x-test')
  const plain = hpackString('h2spec')
  const literals: readonly (readonly [name: string, kind: number, field: Buffer, value: Buffer, rfc: string])[] = [
    ['indexed literal, name of the static table in Huffman code', INDEXED, USER_AGENT, VALUE, '7541 §6.2.1'],
    ['indexed literal, name of the static table', INDEXED, known, plain, '7541 §6.2.1'],
    ['indexed literal, new name', INDEXED, fresh, plain, '7541 §6.2.1'],
    ['indexed literal, new name in Huffman code', INDEXED, X_TEST, VALUE, '7541 §6.2.1'],
    ['literal without indexing, name of the static table', NOT_INDEXED, known, plain, '7541 §6.2.2'],
    [
      'literal without indexing, name of the static table in Huffman code',
      NOT_INDEXED,
      USER_AGENT,
      VALUE,
      '7541 §6.2.2',
    ],
    ['literal without indexing, new name', NOT_INDEXED, fresh, plain, '7541 §6.2.2'],
    ['literal without indexing, new name in Huffman code', NOT_INDEXED, X_TEST, VALUE, '7541 §6.2.2'],
    ['literal never indexed, name of the static table', NEVER_INDEXED, known, plain, '7541 §6.2.3'],
    [
      'literal never indexed, name of the static table in Huffman code',
      NEVER_INDEXED,
      USER_AGENT,
      VALUE,
      '7541 §6.2.3',
    ],
    ['literal never indexed, new name', NEVER_INDEXED, fresh, plain, '7541 §6.2.3'],
    ['literal never indexed, new name in Huffman code', NEVER_INDEXED, X_TEST, VALUE, '7541 §6.2.3'],
  ]
  return [
    // Index 58: `user-agent` with an empty value.
    { id: 'generic/5/1', name: 'indexed field', rfc: '7541 §6.1', steps: behind(Buffer.from('ba', 'hex')) },
    ...literals.map(([name, kind, field, value, rfc], index) => ({
      id: `generic/5/${index + 2}`,
      name,
      rfc,
      steps: behind(Buffer.concat([Buffer.from([kind]), field, value])),
    })),
    { id: 'generic/5/14', name: 'table size update to 128', rfc: '7541 §6.3', steps: before('3f61') },
    {
      id: 'generic/5/15',
      name: 'table size updates to 128 and back to 4096',
      rfc: '7541 §6.3',
      steps: before('3f613fe11f'),
    },
  ]
}
