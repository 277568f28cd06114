/** h2spec's group `http2`, sections 6.10 and 8: header blocks in parts, malformed requests, push. */
import { ErrorCode, continuation, data, headers, openHeaders, pushPromise } from '../frames.ts'
import { END_HEADERS, END_STREAM, headerBlock } from '../raw-http2-client.ts'
import { LONG_FIELDS } from './connection-cases.ts'
import { answered, connectionError, streamError } from './conformance-case.ts'
import type { ConformanceCase, Fields, RequestForm } from './conformance-case.ts'

const { PROTOCOL_ERROR } = ErrorCode

export function messageCases(request: RequestForm): readonly ConformanceCase[] {
  const block = request.bodiless()
  const post = headers(1, request.withBody())
  const body = request.body()
  const middle = continuation(1, LONG_FIELDS)
  const rest = continuation(1, LONG_FIELDS, END_HEADERS)
  const wrong = connectionError(PROTOCOL_ERROR)
  const malformed = streamError(1, PROTOCOL_ERROR)
  const also = (more: Fields) => [headers(1, request.bodiless({}, more), END_STREAM), malformed]
  const twice = (name: string) => also({ [name]: request.fields[name]! })
  const without = (...names: string[]) => [
    headers(1, headerBlock(Object.entries(request.fields).filter(([name]) => !names.includes(name))), END_STREAM),
    malformed,
  ]
  const oneByte = headers(1, request.withBody({}, { 'content-length': '1' }))
  return [
    {
      id: 'http2/6.10/1',
      name: 'several CONTINUATION frames',
      rfc: '9113 §6.10',
      steps: [openHeaders(1, block, END_STREAM), middle, rest, answered(1)],
    },
    {
      id: 'http2/6.10/2',
      name: 'DATA after an unfinished CONTINUATION',
      rfc: '9113 §6.10',
      steps: [openHeaders(1, request.withBody()), middle, data(1, body, END_STREAM), wrong],
    },
    {
      id: 'http2/6.10/3',
      name: 'CONTINUATION on stream 0',
      rfc: '9113 §6.10',
      steps: [openHeaders(1, block, END_STREAM), continuation(0, LONG_FIELDS, END_HEADERS), wrong],
    },
    {
      id: 'http2/6.10/4',
      name: 'CONTINUATION after finished HEADERS',
      rfc: '9113 §6.10',
      steps: [headers(1, block, END_STREAM), rest, wrong],
    },
    {
      id: 'http2/6.10/5',
      name: 'CONTINUATION after a finished CONTINUATION',
      rfc: '9113 §6.10',
      steps: [openHeaders(1, block, END_STREAM), rest, rest, wrong],
    },
    {
      id: 'http2/6.10/6',
      name: 'CONTINUATION after DATA',
      rfc: '9113 §6.10',
      steps: [
        openHeaders(1, request.withBody()),
        data(1, body, END_STREAM),
        middle,
        continuation(0, LONG_FIELDS, END_HEADERS),
        wrong,
      ],
    },

    {
      id: 'http2/8.1/1',
      name: 'trailers that do not end the stream',
      rfc: '9113 §8.1',
      steps: [post, data(1, body), headers(1, headerBlock([['x-test', 'ok']])), malformed],
    },

    { id: 'http2/8.1.2/1', name: 'a name in upper case', rfc: '9113 §8.2.1', steps: also({ 'X-TEST': 'ok' }) },

    { id: 'http2/8.1.2.1/1', name: 'an unknown pseudo-header', rfc: '9113 §8.3', steps: also({ ':test': 'ok' }) },
    { id: 'http2/8.1.2.1/2', name: "a response's pseudo-header", rfc: '9113 §8.3', steps: also({ ':status': '200' }) },
    {
      id: 'http2/8.1.2.1/3',
      name: 'a pseudo-header in trailers',
      rfc: '9113 §8.1',
      steps: [post, data(1, body), headers(1, headerBlock([[':method', 'POST']])), malformed],
    },
    {
      id: 'http2/8.1.2.1/4',
      name: 'pseudo-headers after a field',
      rfc: '9113 §8.3',
      steps: [headers(1, Buffer.concat([headerBlock([['x-test', 'ok']]), block]), END_STREAM), malformed],
    },

    {
      id: 'http2/8.1.2.2/1',
      name: 'connection: keep-alive',
      rfc: '9113 §8.2.2',
      steps: also({ connection: 'keep-alive' }),
    },
    {
      id: 'http2/8.1.2.2/2',
      name: 'te: trailers, deflate',
      rfc: '9113 §8.2.2',
      steps: [headers(1, request.bodiless({ te: 'trailers, deflate' }, { trailers: 'test' }), END_STREAM), malformed],
    },

    {
      id: 'http2/8.1.2.3/1',
      name: 'an empty :path',
      rfc: '9113 §8.3.1',
      steps: [headers(1, request.bodiless({ ':path': '' }), END_STREAM), malformed],
    },
    { id: 'http2/8.1.2.3/2', name: 'no :method', rfc: '9113 §8.3.1', steps: without(':method') },
    { id: 'http2/8.1.2.3/3', name: 'no :scheme', rfc: '9113 §8.3.1', steps: without(':scheme') },
    { id: 'http2/8.1.2.3/4', name: 'no :path', rfc: '9113 §8.3.1', steps: without(':path') },
    { id: 'http2/8.1.2.3/5', name: ':method twice', rfc: '9113 §8.3.1', steps: twice(':method') },
    { id: 'http2/8.1.2.3/6', name: ':scheme twice', rfc: '9113 §8.3.1', steps: twice(':scheme') },
    { id: 'http2/8.1.2.3/7', name: ':path twice', rfc: '9113 §8.3.1', steps: twice(':path') },

    {
      id: 'http2/8.1.2.6/1',
      name: 'a content-length that one DATA frame exceeds',
      rfc: '9113 §8.1.1',
      steps: [oneByte, data(1, body, END_STREAM), malformed],
    },
    {
      id: 'http2/8.1.2.6/2',
      name: 'a content-length that several DATA frames exceed',
      rfc: '9113 §8.1.1',
      steps: [oneByte, data(1, body), data(1, body, END_STREAM), malformed],
    },

    { id: 'http2/8.2/1', name: 'PUSH_PROMISE', rfc: '9113 §8.4', steps: [pushPromise(1, 3, block), wrong] },
  ]
}
