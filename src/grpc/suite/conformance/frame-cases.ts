/** h2spec's group `http2`, sections 6.1 to 6.4, 6.7, 6.8 and 7: single frames that break their own rules. */
import { ErrorCode, PADDED, continuation, data, goaway, headers, openHeaders, ping, priority } from '../frames.ts'
import { END_HEADERS, END_STREAM, FrameType, frame, resetFrame } from '../raw-http2-client.ts'
import { LONG_FIELDS } from './connection-cases.ts'
import { connectionError, pong, pongOrClosed, streamError } from './conformance-case.ts'
import type { ConformanceCase, RequestForm } from './conformance-case.ts'

const { PROTOCOL_ERROR, STREAM_CLOSED, FRAME_SIZE_ERROR, CANCEL } = ErrorCode
const UNKNOWN_ERROR = 0xff

export function frameCases(request: RequestForm): readonly ConformanceCase[] {
  const block = request.bodiless()
  const get = headers(1, block, END_STREAM)
  const rest = continuation(1, LONG_FIELDS, END_HEADERS)
  const body = request.body()
  const ended = headers(1, request.withBody(), END_STREAM)
  return [
    {
      id: 'http2/6.1/1',
      name: 'DATA on stream 0',
      rfc: '9113 §6.1',
      steps: [data(0, body, END_STREAM), connectionError(PROTOCOL_ERROR)],
    },
    {
      id: 'http2/6.1/2',
      name: 'DATA on a half-closed stream',
      rfc: '9113 §6.1',
      steps: [ended, data(1, body, END_STREAM), streamError(1, STREAM_CLOSED)],
    },
    {
      id: 'http2/6.1/3',
      name: 'DATA with more padding than payload',
      rfc: '9113 §6.1',
      steps: [
        headers(1, request.withBody({}, { 'content-length': '4' })),
        frame(FrameType.DATA, END_STREAM | PADDED, 1, Buffer.from('\x06Test')),
        connectionError(PROTOCOL_ERROR),
      ],
    },

    {
      id: 'http2/6.2/1',
      name: 'PRIORITY between HEADERS and CONTINUATION',
      rfc: '9113 §6.2',
      steps: [openHeaders(1, block), priority(1, 0), rest, connectionError(PROTOCOL_ERROR)],
    },
    {
      id: 'http2/6.2/2',
      name: 'HEADERS of another stream between HEADERS and CONTINUATION',
      rfc: '9113 §6.2',
      steps: [openHeaders(1, block), headers(3, block, END_STREAM), rest, connectionError(PROTOCOL_ERROR)],
    },
    {
      id: 'http2/6.2/3',
      name: 'HEADERS on stream 0',
      rfc: '9113 §6.2',
      steps: [headers(0, block, END_STREAM), connectionError(PROTOCOL_ERROR)],
    },
    {
      id: 'http2/6.2/4',
      name: 'HEADERS with more padding than payload',
      rfc: '9113 §6.2',
      steps: [
        frame(
          FrameType.HEADERS,
          END_STREAM | END_HEADERS | PADDED,
          1,
          Buffer.concat([Buffer.from([block.length + 2]), block]),
        ),
        streamError(1, PROTOCOL_ERROR),
      ],
    },

    {
      id: 'http2/6.3/1',
      name: 'PRIORITY on stream 0',
      rfc: '9113 §6.3',
      steps: [priority(0, 0), connectionError(PROTOCOL_ERROR)],
    },
    {
      id: 'http2/6.3/2',
      name: 'PRIORITY of 4 bytes',
      rfc: '9113 §6.3',
      steps: [get, frame(FrameType.PRIORITY, 0, 1, Buffer.from([0x80, 0, 0, 1])), streamError(1, FRAME_SIZE_ERROR)],
    },

    {
      id: 'http2/6.4/1',
      name: 'RST_STREAM on stream 0',
      rfc: '9113 §6.4',
      steps: [resetFrame(0, CANCEL), connectionError(PROTOCOL_ERROR)],
    },
    {
      id: 'http2/6.4/2',
      name: 'RST_STREAM on an idle stream',
      rfc: '9113 §6.4',
      steps: [resetFrame(1, CANCEL), connectionError(PROTOCOL_ERROR)],
    },
    {
      id: 'http2/6.4/3',
      name: 'RST_STREAM of 3 bytes',
      rfc: '9113 §6.4',
      steps: [get, frame(FrameType.RST_STREAM, 0, 1, Buffer.alloc(3)), connectionError(FRAME_SIZE_ERROR)],
    },

    { id: 'http2/6.7/1', name: 'PING is answered with its bytes', rfc: '9113 §6.7', steps: [ping('own'), pong('own')] },
    {
      id: 'http2/6.7/2',
      name: 'PING ACK that answers nothing is not answered',
      rfc: '9113 §6.7',
      steps: [ping('stray', 1), ping('real'), pong('real')],
    },
    {
      id: 'http2/6.7/3',
      name: 'PING on a stream',
      rfc: '9113 §6.7',
      steps: [frame(FrameType.PING, 0, 1, Buffer.alloc(8)), connectionError(PROTOCOL_ERROR)],
    },
    {
      id: 'http2/6.7/4',
      name: 'PING of 6 bytes',
      rfc: '9113 §6.7',
      steps: [frame(FrameType.PING, 0, 0, Buffer.alloc(6)), connectionError(FRAME_SIZE_ERROR)],
    },

    {
      id: 'http2/6.8/1',
      name: 'GOAWAY on a stream',
      rfc: '9113 §6.8',
      steps: [goaway(0, 0, '', 1), connectionError(PROTOCOL_ERROR)],
    },

    {
      id: 'http2/7/1',
      name: 'GOAWAY with an unknown code',
      rfc: '9113 §7',
      steps: [goaway(0, UNKNOWN_ERROR), ping('after'), pongOrClosed('after')],
    },
    {
      id: 'http2/7/2',
      name: 'RST_STREAM with an unknown code',
      rfc: '9113 §7',
      steps: [headers(1, request.withBody()), resetFrame(1, UNKNOWN_ERROR), ping(), pongOrClosed()],
    },
  ]
}
