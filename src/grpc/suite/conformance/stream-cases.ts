/** h2spec's group `http2`, section 5.1: frames that a stream's state does not allow, stream ids, concurrency. */
import { ErrorCode, Setting, continuation, data, headers, settings, windowUpdate } from '../frames.ts'
import { END_HEADERS, END_STREAM, resetFrame } from '../raw-http2-client.ts'
import { LONG_FIELDS } from './connection-cases.ts'
import { MAX_STREAMS, connectionError, finished, streamError } from './conformance-case.ts'
import type { ConformanceCase, RequestForm } from './conformance-case.ts'

const { PROTOCOL_ERROR, STREAM_CLOSED, REFUSED_STREAM, CANCEL } = ErrorCode

export function streamCases(request: RequestForm): readonly ConformanceCase[] {
  const block = request.bodiless()
  const get = headers(1, block, END_STREAM)
  const cancelled = [headers(1, block), resetFrame(1, CANCEL)]
  const last = data(1, request.body(), END_STREAM)
  const rest = continuation(1, LONG_FIELDS, END_HEADERS)
  return [
    {
      id: 'http2/5.1/1',
      name: 'idle: DATA',
      rfc: '9113 §5.1',
      steps: [last, streamError(1, PROTOCOL_ERROR, STREAM_CLOSED)],
    },
    {
      id: 'http2/5.1/2',
      name: 'idle: RST_STREAM',
      rfc: '9113 §5.1',
      steps: [resetFrame(1, CANCEL), connectionError(PROTOCOL_ERROR)],
    },
    {
      id: 'http2/5.1/3',
      name: 'idle: WINDOW_UPDATE',
      rfc: '9113 §5.1',
      steps: [windowUpdate(1, 100), connectionError(PROTOCOL_ERROR)],
    },
    {
      id: 'http2/5.1/4',
      name: 'idle: CONTINUATION',
      rfc: '9113 §6.10',
      steps: [continuation(1, block, END_HEADERS), connectionError(PROTOCOL_ERROR)],
    },
    {
      id: 'http2/5.1/5',
      name: 'half-closed: DATA',
      rfc: '9113 §5.1',
      steps: [get, last, streamError(1, STREAM_CLOSED)],
    },
    {
      id: 'http2/5.1/6',
      name: 'half-closed: HEADERS',
      rfc: '9113 §5.1',
      steps: [get, get, streamError(1, STREAM_CLOSED)],
    },
    {
      id: 'http2/5.1/7',
      name: 'half-closed: CONTINUATION',
      rfc: '9113 §5.1',
      steps: [get, continuation(1, block, END_HEADERS), streamError(1, STREAM_CLOSED, PROTOCOL_ERROR)],
    },
    {
      id: 'http2/5.1/8',
      name: 'closed by the client: DATA',
      rfc: '9113 §5.1',
      steps: [...cancelled, last, streamError(1, STREAM_CLOSED)],
    },
    {
      id: 'http2/5.1/9',
      name: 'closed by the client: HEADERS',
      rfc: '9113 §5.1',
      steps: [...cancelled, get, streamError(1, STREAM_CLOSED)],
    },
    {
      id: 'http2/5.1/10',
      name: 'closed by the client: CONTINUATION',
      rfc: '9113 §5.1',
      steps: [...cancelled, rest, streamError(1, STREAM_CLOSED, PROTOCOL_ERROR)],
    },
    {
      id: 'http2/5.1/11',
      name: 'closed by both: DATA',
      rfc: '9113 §5.1',
      steps: [get, finished(1), last, streamError(1, STREAM_CLOSED)],
    },
    {
      id: 'http2/5.1/12',
      name: 'closed by both: HEADERS',
      rfc: '9113 §5.1',
      steps: [get, finished(1), get, connectionError(STREAM_CLOSED)],
    },
    {
      id: 'http2/5.1/13',
      name: 'closed by both: CONTINUATION',
      rfc: '9113 §5.1',
      steps: [get, finished(1), rest, connectionError(STREAM_CLOSED, PROTOCOL_ERROR)],
    },

    {
      id: 'http2/5.1.1/1',
      name: 'an even stream id',
      rfc: '9113 §5.1.1',
      steps: [headers(2, block, END_STREAM), connectionError(PROTOCOL_ERROR)],
    },
    {
      id: 'http2/5.1.1/2',
      name: 'a stream id lower than the last one',
      rfc: '9113 §5.1.1',
      steps: [headers(5, block, END_STREAM), headers(3, block, END_STREAM), connectionError(PROTOCOL_ERROR)],
    },

    {
      id: 'http2/5.1.2/1',
      name: 'one stream more than allowed',
      rfc: '9113 §5.1.2',
      needsBody: true,
      steps: [
        // Without a window no answer can end a stream.
        settings([Setting.INITIAL_WINDOW_SIZE, 0]),
        ...Array.from({ length: MAX_STREAMS + 1 }, (_, index) => headers(2 * index + 1, block, END_STREAM)),
        streamError(2 * MAX_STREAMS + 1, PROTOCOL_ERROR, REFUSED_STREAM),
      ],
    },
  ]
}
