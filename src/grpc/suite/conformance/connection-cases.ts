/** h2spec's group `http2`, sections 3 to 5 apart from stream states: preface, frames, header blocks, errors, extensions. */
import { ErrorCode, Setting, continuation, data, headers, openHeaders, ping, priority, settings } from '../frames.ts'
import { END_HEADERS, END_STREAM, FrameType, PREFACE, frame, headerBlock } from '../raw-http2-client.ts'
import type { RawHttp2Client } from '../raw-http2-client.ts'
import {
  announced,
  answered,
  closed,
  connectionError,
  goawayWith,
  pong,
  serverPreface,
  streamError,
} from './conformance-case.ts'
import type { ConformanceCase, RequestForm } from './conformance-case.ts'

const { PROTOCOL_ERROR, FRAME_SIZE_ERROR, COMPRESSION_ERROR } = ErrorCode
/** The largest frame that the server takes. */
const largest = (client: RawHttp2Client) => announced(client, Setting.MAX_FRAME_SIZE, 16_384)
const UNKNOWN = frame(0x16, 0, 0, Buffer.alloc(8))
const PING_ON_A_STREAM = frame(FrameType.PING, 0, 3, Buffer.alloc(8))

/** A field of about a quarter of the usual frame. */
export const LONG_FIELDS = headerBlock([['x-long', 'x'.repeat(4000)]])

export function connectionCases(request: RequestForm): readonly ConformanceCase[] {
  const block = request.bodiless()
  const post = headers(1, request.withBody())
  const fieldsOver = (size: number) =>
    Buffer.concat([block, ...Array.from({ length: Math.ceil(size / LONG_FIELDS.length) }, () => LONG_FIELDS)])
  return [
    {
      id: 'http2/3.5/1',
      name: 'client preface',
      rfc: '9113 §3.4',
      start: 'bare',
      steps: [PREFACE, settings([Setting.INITIAL_WINDOW_SIZE, 65_535]), serverPreface],
    },
    {
      id: 'http2/3.5/2',
      name: 'another preface',
      rfc: '9113 §3.4',
      start: 'bare',
      steps: [Buffer.from('NOTHING LIKE A PREFACE\r\n\r\n'), connectionError(PROTOCOL_ERROR)],
    },

    { id: 'http2/4.1/1', name: 'a frame of an unknown type', rfc: '9113 §4.1', steps: [UNKNOWN, ping(), pong()] },
    { id: 'http2/4.1/2', name: 'undefined flags', rfc: '9113 §4.1', steps: [ping('', 0x16), pong()] },
    {
      id: 'http2/4.1/3',
      name: 'the reserved bit',
      rfc: '9113 §4.1',
      steps: [frame(FrameType.PING, 0x16, 0x80000000, Buffer.alloc(8)), pong()],
    },

    {
      id: 'http2/4.2/1',
      name: 'DATA as large as announced',
      rfc: '9113 §4.2',
      steps: [post, client => data(1, request.body(largest(client)), END_STREAM), answered(1)],
    },
    {
      id: 'http2/4.2/2',
      name: 'DATA larger than announced',
      rfc: '9113 §4.2',
      steps: [post, client => data(1, request.body(largest(client) + 1), END_STREAM), streamError(1, FRAME_SIZE_ERROR)],
    },
    {
      id: 'http2/4.2/3',
      name: 'HEADERS larger than announced',
      rfc: '9113 §4.2',
      steps: [client => headers(1, fieldsOver(largest(client)), END_STREAM), connectionError(FRAME_SIZE_ERROR)],
    },

    // An indexed literal that ends before its name.
    {
      id: 'http2/4.3/1',
      name: 'a header block that cannot be decoded',
      rfc: '9113 §4.3',
      steps: [headers(1, Buffer.from([0x40]), END_STREAM), connectionError(COMPRESSION_ERROR)],
    },
    {
      id: 'http2/4.3/2',
      name: 'PRIORITY within a header block',
      rfc: '9113 §4.3',
      steps: [
        openHeaders(1, block),
        priority(1, 0),
        continuation(1, LONG_FIELDS, END_HEADERS),
        connectionError(PROTOCOL_ERROR),
      ],
    },
    {
      id: 'http2/4.3/3',
      name: 'HEADERS of another stream within a header block',
      rfc: '9113 §4.3',
      steps: [
        openHeaders(1, block),
        headers(3, block, END_STREAM),
        continuation(1, LONG_FIELDS, END_HEADERS),
        connectionError(PROTOCOL_ERROR),
      ],
    },

    {
      id: 'http2/5.3.1/1',
      name: 'HEADERS that depend on their own stream',
      rfc: '7540 §5.3.1',
      steps: [
        frame(
          FrameType.HEADERS,
          END_STREAM | END_HEADERS | 0x20,
          1,
          Buffer.concat([Buffer.from([0, 0, 0, 1, 255]), block]),
        ),
        streamError(1, PROTOCOL_ERROR),
      ],
    },
    {
      id: 'http2/5.3.1/2',
      name: 'PRIORITY that depends on its own stream',
      rfc: '7540 §5.3.1',
      steps: [priority(1, 1), streamError(1, PROTOCOL_ERROR)],
    },

    {
      id: 'http2/5.4.1/1',
      name: 'a connection error closes the connection',
      rfc: '9113 §5.4.1',
      steps: [PING_ON_A_STREAM, closed],
    },
    {
      id: 'http2/5.4.1/2',
      name: 'a connection error is told by GOAWAY',
      rfc: '9113 §5.4.1',
      steps: [PING_ON_A_STREAM, goawayWith(PROTOCOL_ERROR)],
    },

    { id: 'http2/5.5/1', name: 'an extension frame', rfc: '9113 §5.5', steps: [UNKNOWN, ping(), pong()] },
    {
      id: 'http2/5.5/2',
      name: 'an extension frame within a header block',
      rfc: '9113 §5.5',
      steps: [openHeaders(1, block, END_STREAM), UNKNOWN, connectionError(PROTOCOL_ERROR)],
    },
  ]
}
