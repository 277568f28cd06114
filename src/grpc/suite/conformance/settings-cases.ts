/** h2spec's group `http2`, sections 6.5 and 6.9: SETTINGS, and flow control as they and WINDOW_UPDATE change it. */
import { ErrorCode, Setting, headers, ping, settings, windowUpdate } from '../frames.ts'
import { END_STREAM, FrameType, frame } from '../raw-http2-client.ts'
import { connectionError, dataOf, goawayWith, pong, reset, settingsAck, streamError } from './conformance-case.ts'
import type { ConformanceCase, RequestForm } from './conformance-case.ts'

const { PROTOCOL_ERROR, FRAME_SIZE_ERROR, FLOW_CONTROL_ERROR } = ErrorCode
const { ENABLE_PUSH, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_CONCURRENT_STREAMS } = Setting
const MAX_WINDOW = 2 ** 31 - 1

export function settingsCases(request: RequestForm): readonly ConformanceCase[] {
  const get = headers(1, request.bodiless(), END_STREAM)
  const window = (...sizes: number[]): Buffer => settings(...sizes.map(size => [INITIAL_WINDOW_SIZE, size] as const))
  return [
    {
      id: 'http2/6.5/1',
      name: 'SETTINGS ACK with a payload',
      rfc: '9113 §6.5',
      steps: [frame(FrameType.SETTINGS, 1, 0, Buffer.alloc(1)), connectionError(FRAME_SIZE_ERROR)],
    },
    {
      id: 'http2/6.5/2',
      name: 'SETTINGS on a stream',
      rfc: '9113 §6.5',
      steps: [
        frame(FrameType.SETTINGS, 0, 1, Buffer.from([0, MAX_CONCURRENT_STREAMS, 0, 0, 0, 100])),
        connectionError(PROTOCOL_ERROR),
      ],
    },
    {
      id: 'http2/6.5/3',
      name: 'SETTINGS of 3 bytes',
      rfc: '9113 §6.5',
      steps: [frame(FrameType.SETTINGS, 0, 0, Buffer.from([0, 3, 0])), connectionError(FRAME_SIZE_ERROR)],
    },

    {
      id: 'http2/6.5.2/1',
      name: 'ENABLE_PUSH 2',
      rfc: '9113 §6.5.2',
      steps: [settings([ENABLE_PUSH, 2]), connectionError(PROTOCOL_ERROR)],
    },
    {
      id: 'http2/6.5.2/2',
      name: 'INITIAL_WINDOW_SIZE over the largest window',
      rfc: '9113 §6.5.2',
      steps: [window(MAX_WINDOW + 1), connectionError(FLOW_CONTROL_ERROR)],
    },
    {
      id: 'http2/6.5.2/3',
      name: 'MAX_FRAME_SIZE under 16 KiB',
      rfc: '9113 §6.5.2',
      steps: [settings([MAX_FRAME_SIZE, 16_383]), connectionError(PROTOCOL_ERROR)],
    },
    {
      id: 'http2/6.5.2/4',
      name: 'MAX_FRAME_SIZE of 16 MiB',
      rfc: '9113 §6.5.2',
      steps: [settings([MAX_FRAME_SIZE, 2 ** 24]), connectionError(PROTOCOL_ERROR)],
    },
    {
      id: 'http2/6.5.2/5',
      name: 'an unknown parameter',
      rfc: '9113 §6.5.2',
      steps: [settings([0xff, 1]), ping(), pong()],
    },

    {
      id: 'http2/6.5.3/1',
      name: 'the same parameter twice: the last one counts',
      rfc: '9113 §6.5.3',
      needsBody: true,
      steps: [window(100, 1), settingsAck, get, dataOf(1, 1)],
    },
    {
      id: 'http2/6.5.3/2',
      name: 'SETTINGS are acknowledged',
      rfc: '9113 §6.5.3',
      steps: [settings([ENABLE_PUSH, 0]), settingsAck],
    },

    {
      id: 'http2/6.9/1',
      name: 'WINDOW_UPDATE of 0 on the connection',
      rfc: '9113 §6.9',
      steps: [windowUpdate(0, 0), connectionError(PROTOCOL_ERROR)],
    },
    {
      id: 'http2/6.9/2',
      name: 'WINDOW_UPDATE of 0 on a stream',
      rfc: '9113 §6.9',
      steps: [headers(1, request.bodiless()), windowUpdate(1, 0), streamError(1, PROTOCOL_ERROR)],
    },
    {
      id: 'http2/6.9/3',
      name: 'WINDOW_UPDATE of 3 bytes',
      rfc: '9113 §6.9',
      steps: [frame(FrameType.WINDOW_UPDATE, 0, 0, Buffer.from([0, 0, 1])), connectionError(FRAME_SIZE_ERROR)],
    },

    {
      id: 'http2/6.9.1/1',
      name: 'a window of one byte',
      rfc: '9113 §6.9.1',
      needsBody: true,
      steps: [window(1), settingsAck, get, dataOf(1, 1)],
    },
    {
      id: 'http2/6.9.1/2',
      name: 'the connection window overflows',
      rfc: '9113 §6.9.1',
      steps: [windowUpdate(0, MAX_WINDOW), windowUpdate(0, MAX_WINDOW), goawayWith(FLOW_CONTROL_ERROR)],
    },
    {
      id: 'http2/6.9.1/3',
      name: "a stream's window overflows",
      rfc: '9113 §6.9.1',
      steps: [
        headers(1, request.bodiless()),
        windowUpdate(1, MAX_WINDOW),
        windowUpdate(1, MAX_WINDOW),
        reset(1, FLOW_CONTROL_ERROR),
      ],
    },

    {
      id: 'http2/6.9.2/1',
      name: 'a new initial size moves open windows',
      rfc: '9113 §6.9.2',
      needsBody: true,
      steps: [window(0), settingsAck, get, window(1), dataOf(1, 1)],
    },
    {
      id: 'http2/6.9.2/2',
      name: 'a new initial size makes a window negative',
      rfc: '9113 §6.9.2',
      needsBody: true,
      steps: [window(3), settingsAck, get, dataOf(1, 3), window(2), settingsAck, windowUpdate(1, 2), dataOf(1, 1)],
    },
    {
      id: 'http2/6.9.2/3',
      name: 'INITIAL_WINDOW_SIZE over the largest window',
      rfc: '9113 §6.9.2',
      steps: [window(MAX_WINDOW + 1), connectionError(FLOW_CONTROL_ERROR)],
    },
  ]
}
