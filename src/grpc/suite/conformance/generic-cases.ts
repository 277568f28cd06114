/** h2spec's group `generic`, sections 1 to 4: what every server must take. */
import {
  ErrorCode,
  Setting,
  continuation,
  data,
  goaway,
  headers,
  openHeaders,
  paddedData,
  paddedHeaders,
  ping,
  prioritizedHeaders,
  priority,
  settings,
  windowUpdate,
} from '../frames.ts'
import { END_HEADERS, END_STREAM, PREFACE, headerBlock, resetFrame } from '../raw-http2-client.ts'
import { answered, dataOf, finished, pong, pongOrClosed, serverPreface, settingsAck } from './conformance-case.ts'
import type { ConformanceCase, RequestForm } from './conformance-case.ts'

const INITIAL = [Setting.INITIAL_WINDOW_SIZE, 65_535] as const
const NO_WINDOW = settings([Setting.INITIAL_WINDOW_SIZE, 0])

export function genericCases(request: RequestForm): readonly ConformanceCase[] {
  const { CANCEL, NO_ERROR } = ErrorCode
  const block = request.bodiless()
  const get = headers(1, block, END_STREAM)
  const post = headers(1, request.withBody())
  const part = request.body()
  return [
    {
      id: 'generic/1/1',
      name: 'client preface',
      rfc: '9113 §3.4',
      start: 'bare',
      steps: [PREFACE, settings(INITIAL), serverPreface],
    },

    {
      id: 'generic/2/1',
      name: 'PRIORITY on an idle stream',
      rfc: '9113 §5.1',
      steps: [priority(1, 0), ping(), pong()],
    },
    {
      id: 'generic/2/2',
      name: 'WINDOW_UPDATE on a half-closed stream',
      rfc: '9113 §5.1',
      needsBody: true,
      steps: [NO_WINDOW, get, windowUpdate(1, 1), dataOf(1)],
    },
    {
      id: 'generic/2/3',
      name: 'PRIORITY on a half-closed stream',
      rfc: '9113 §5.1',
      needsBody: true,
      steps: [NO_WINDOW, get, priority(1, 0), windowUpdate(1, 1), dataOf(1)],
    },
    {
      id: 'generic/2/4',
      name: 'RST_STREAM on a half-closed stream',
      rfc: '9113 §5.1',
      steps: [get, resetFrame(1, CANCEL), ping(), pongOrClosed()],
    },
    {
      id: 'generic/2/5',
      name: 'PRIORITY on a closed stream',
      rfc: '9113 §5.1',
      steps: [get, finished(1), priority(1, 0), ping(), pong()],
    },

    { id: 'generic/3.1/1', name: 'DATA', rfc: '9113 §6.1', steps: [post, data(1, part, END_STREAM), answered(1)] },
    {
      id: 'generic/3.1/2',
      name: 'two DATA frames',
      rfc: '9113 §6.1',
      steps: [post, data(1, part), data(1, part, END_STREAM), answered(1)],
    },
    {
      id: 'generic/3.1/3',
      name: 'DATA with padding',
      rfc: '9113 §6.1',
      steps: [post, paddedData(1, part, 5, END_STREAM), answered(1)],
    },

    { id: 'generic/3.2/1', name: 'HEADERS', rfc: '9113 §6.2', steps: [get, answered(1)] },
    {
      id: 'generic/3.2/2',
      name: 'HEADERS with padding',
      rfc: '9113 §6.2',
      steps: [paddedHeaders(1, block, 8, END_STREAM), answered(1)],
    },
    {
      id: 'generic/3.2/3',
      name: 'HEADERS with priority fields',
      rfc: '9113 §6.2',
      steps: [prioritizedHeaders(1, block, 0, END_STREAM), answered(1)],
    },

    {
      id: 'generic/3.3/1',
      name: 'PRIORITY, least weight',
      rfc: '9113 §6.3',
      steps: [priority(1, 0, 0), get, answered(1)],
    },
    {
      id: 'generic/3.3/2',
      name: 'PRIORITY, greatest weight',
      rfc: '9113 §6.3',
      steps: [priority(1, 0, 255), get, answered(1)],
    },
    {
      id: 'generic/3.3/3',
      name: 'PRIORITY of another stream that depends on this one',
      rfc: '9113 §6.3',
      steps: [priority(3, 1, 0), get, answered(1)],
    },
    {
      id: 'generic/3.3/4',
      name: 'PRIORITY, exclusive',
      rfc: '9113 §6.3',
      steps: [priority(1, 0, 0, true), get, answered(1)],
    },
    {
      id: 'generic/3.3/5',
      name: 'PRIORITY of a higher stream leaves lower ones idle',
      rfc: '9113 §5.1.1',
      steps: [priority(3, 0), get, answered(1)],
    },

    {
      id: 'generic/3.4/1',
      name: 'RST_STREAM',
      rfc: '9113 §6.4',
      steps: [headers(1, block), resetFrame(1, CANCEL), ping(), pongOrClosed()],
    },

    {
      id: 'generic/3.5/1',
      name: 'SETTINGS with every parameter',
      rfc: '9113 §6.5',
      steps: [
        settings(
          [Setting.HEADER_TABLE_SIZE, 4096],
          [Setting.ENABLE_PUSH, 1],
          [Setting.MAX_CONCURRENT_STREAMS, 100],
          INITIAL,
          [Setting.MAX_FRAME_SIZE, 16_384],
          [Setting.MAX_HEADER_LIST_SIZE, 100],
        ),
        settingsAck,
      ],
    },

    { id: 'generic/3.7/1', name: 'PING', rfc: '9113 §6.7', steps: [ping('generic'), pong('generic')] },

    {
      id: 'generic/3.8/1',
      name: 'GOAWAY',
      rfc: '9113 §6.8',
      steps: [goaway(0, NO_ERROR, 'bye'), ping('still'), pongOrClosed('still')],
    },

    {
      id: 'generic/3.9/1',
      name: 'WINDOW_UPDATE of the connection',
      rfc: '9113 §6.9',
      steps: [windowUpdate(0, 1), ping(), pong()],
    },
    {
      id: 'generic/3.9/2',
      name: 'WINDOW_UPDATE of a stream',
      rfc: '9113 §6.9',
      steps: [get, windowUpdate(1, 1), answered(1)],
    },

    {
      id: 'generic/3.10/1',
      name: 'one CONTINUATION',
      rfc: '9113 §6.10',
      steps: [
        openHeaders(1, block.subarray(0, 5), END_STREAM),
        continuation(1, block.subarray(5), END_HEADERS),
        answered(1),
      ],
    },
    {
      id: 'generic/3.10/2',
      name: 'several CONTINUATION frames',
      rfc: '9113 §6.10',
      steps: [
        openHeaders(1, block.subarray(0, 5), END_STREAM),
        continuation(1, block.subarray(5, 10)),
        continuation(1, block.subarray(10), END_HEADERS),
        answered(1),
      ],
    },

    { id: 'generic/4/1', name: 'a request without a body', rfc: '9113 §8.1', steps: [get, answered(1)] },
    {
      id: 'generic/4/2',
      name: 'a HEAD request',
      rfc: '9113 §8.1',
      steps: [headers(1, request.bodiless({ ':method': 'HEAD' }), END_STREAM), answered(1)],
    },
    {
      id: 'generic/4/3',
      name: 'a request with a body',
      rfc: '9113 §8.1',
      steps: [post, data(1, part, END_STREAM), answered(1)],
    },
    {
      id: 'generic/4/4',
      name: 'a request with trailers',
      rfc: '9113 §8.1',
      steps: [
        headers(1, request.withBody({}, { trailer: 'x-test' })),
        data(1, part),
        headers(1, headerBlock([['x-test', 'ok']]), END_STREAM),
        answered(1),
      ],
    },
  ]
}
