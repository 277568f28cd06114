/** h2spec's group `hpack`: header blocks that cannot be decoded. */
import { ErrorCode, Setting, headers } from '../frames.ts'
import { END_STREAM } from '../raw-http2-client.ts'
import { announced, connectionError } from './conformance-case.ts'
import type { ConformanceCase, RequestForm } from './conformance-case.ts'
import { X_TEST } from './generic-hpack-cases.ts'

export function hpackCases(request: RequestForm): readonly ConformanceCase[] {
  const undecodable = connectionError(ErrorCode.COMPRESSION_ERROR)
  const behind = (...rest: Uint8Array[]) => [
    headers(1, Buffer.concat([request.bodiless(), ...rest]), END_STREAM),
    undecodable,
  ]
  const literal = (value: string) => behind(Buffer.from([0]), X_TEST, Buffer.from(value, 'hex'))
  return [
    {
      id: 'hpack/2.3.3/1',
      name: 'an index beyond both tables',
      rfc: '7541 §2.3.3',
      steps: behind(Buffer.from('c6', 'hex')),
    },
    {
      id: 'hpack/2.3.3/2',
      name: "a name's index beyond both tables",
      rfc: '7541 §2.3.3',
      steps: behind(Buffer.from('7f0700', 'hex')),
    },
    {
      id: 'hpack/4.2/1',
      name: 'a table size update behind fields',
      rfc: '7541 §4.2',
      steps: behind(Buffer.from('21', 'hex')),
    },
    { id: 'hpack/5.2/1', name: 'Huffman padding of more than 7 bits', rfc: '7541 §5.2', steps: literal('8449509fff') },
    { id: 'hpack/5.2/2', name: 'Huffman padding of zeros', rfc: '7541 §5.2', steps: literal('83495090') },
    {
      id: 'hpack/5.2/3',
      name: 'the end-of-string symbol within a string',
      rfc: '7541 §5.2',
      steps: literal('874951fffffffa7f'),
    },
    { id: 'hpack/6.1/1', name: 'index 0', rfc: '7541 §6.1', steps: behind(Buffer.from('80', 'hex')) },
    {
      id: 'hpack/6.3/1',
      name: 'a table larger than announced',
      rfc: '7541 §6.3',
      steps: [
        client =>
          headers(
            1,
            Buffer.concat([
              tableSizeUpdate(announced(client, Setting.HEADER_TABLE_SIZE, 4096) + 1),
              request.bodiless(),
            ]),
            END_STREAM,
          ),
        undecodable,
      ],
    },
  ]
}

/** RFC 7541 §6.3; `size` is 31 at the least. */
function tableSizeUpdate(size: number): Buffer {
  const bytes = [0x3f]
  let rest = size - 31
  for (; rest >= 128; rest >>>= 7) bytes.push((rest & 127) | 128)
  return Buffer.from([...bytes, rest])
}
