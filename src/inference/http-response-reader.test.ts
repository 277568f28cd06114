import { describe, expect, it } from '@jest/globals'
import * as fc from 'fast-check'
import { CollectedBody } from './collected-body.ts'
import { HttpReadError, HttpResponseReader } from './http-response-reader.ts'

interface Response {
  readonly status: number
  readonly body: string
  readonly keepAlive: boolean
}

/** Feeds the text in pieces of the given sizes (the last one repeats), then closes unless the response is complete. */
function read(text: string, sizes: readonly number[] = [text.length], limit = 1000): Response {
  const reader = new HttpResponseReader()
  const body = new CollectedBody()
  reader.reset(limit, body)
  const bytes = Buffer.from(text, 'latin1')
  let done = false
  for (let at = 0, i = 0; at < bytes.length && !done; i++) {
    const size = Math.max(1, sizes[Math.min(i, sizes.length - 1)]!)
    done = reader.push(bytes, at, Math.min(bytes.length, at + size))
    at += size
  }
  if (!done) reader.close()
  return {
    status: reader.status,
    body: body.finish().toString('latin1'),
    keepAlive: reader.keepAlive,
  }
}

const LENGTH = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello'
const CHUNKED =
  'HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n3\r\nhel\r\nA;x="y"\r\nlo 1234567\r\n0\r\ntrailer: x\r\n\r\n'
const UNTIL_CLOSE = 'HTTP/1.0 200 OK\r\nserver: old\r\n\r\nall of it\r\n\r\n'
const INTERIM = `HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 404 Not Found\nContent-Length: 0\n\n`

describe('HttpResponseReader', () => {
  it.each([
    ['content-length', LENGTH, { status: 200, body: 'hello', keepAlive: true }],
    ['chunked', CHUNKED, { status: 200, body: 'hello 1234567', keepAlive: true }],
    ['until close', UNTIL_CLOSE, { status: 200, body: 'all of it\r\n\r\n', keepAlive: false }],
    ['after an interim response, bare LF', INTERIM, { status: 404, body: '', keepAlive: true }],
    ['204', 'HTTP/1.1 204 No Content\r\n\r\n', { status: 204, body: '', keepAlive: true }],
  ])('reads a body: %s, in any pieces', (_name, text, expected) => {
    expect(read(text)).toEqual(expected)
    expect(read(text, [1])).toEqual(expected)
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }), sizes => {
        expect(read(text, sizes)).toEqual(expected)
      }),
      { numRuns: 50 },
    )
  })

  it.each([
    ['HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1\r\n\r\nx', false],
    ['HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 1\r\n\r\nx', true],
    ['HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\nx', false],
    // What follows the response can't be told from the next one.
    ['HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nxHTTP/1.1 200 OK\r\n', false],
    ['HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n', false],
  ])('keeps the connection only when the next response is certain: %j → %s', (text, keepAlive) => {
    expect(read(text).keepAlive).toBe(keepAlive)
  })

  it.each([
    ['not HTTP', 'SSH-2.0-OpenSSH\r\n\r\n', 'malformed'],
    ['another version', 'HTTP/2 200\r\n\r\n', 'malformed'],
    ['a bad length', 'HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n', 'malformed'],
    ['two lengths', 'HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n', 'malformed'],
    ['a bad chunk size', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n', 'malformed'],
    ['an overlong chunk', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nxyz\r\n', 'malformed'],
    ['an endless chunk line', `HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n${'0'.repeat(500)}`, 'malformed'],
    ['gzip', 'HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 1\r\n\r\nx', 'malformed'],
    ['an unknown transfer encoding', 'HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n', 'malformed'],
    ['a header without a name', 'HTTP/1.1 200 OK\r\n: x\r\n\r\n', 'malformed'],
    ['an endless head', `HTTP/1.1 200 OK\r\nx: ${'y'.repeat(20_000)}`, 'too-large'],
    ['endless interim responses', 'HTTP/1.1 100 Continue\r\n\r\n'.repeat(1000), 'too-large'],
    [
      'endless trailers',
      `HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n${'a: b\r\n'.repeat(5000)}`,
      'too-large',
    ],
    ['a large length', 'HTTP/1.1 200 OK\r\ncontent-length: 1001\r\n\r\n', 'too-large'],
    ['a large body', `HTTP/1.1 200 OK\r\n\r\n${'x'.repeat(1001)}`, 'too-large'],
    ['a large chunk', `HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3e9\r\n${'x'.repeat(1001)}`, 'too-large'],
    ['a cut body', 'HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhell', 'closed'],
    ['a cut head', 'HTTP/1.1 200', 'closed'],
    ['cut chunks', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n', 'closed'],
  ])('refuses %s', (_name, text, code) => {
    for (const size of [text.length, 1]) {
      let problem: unknown
      try {
        read(text, [size])
      } catch (error) {
        problem = error
      }
      expect(problem).toBeInstanceOf(HttpReadError)
      expect((problem as HttpReadError).code).toBe(code)
    }
  })

  it('grows its buffer and serves one response after the other', () => {
    const reader = new HttpResponseReader()
    for (const size of [300_000, 3, 100_000]) {
      const body = 'abc'.repeat(size / 3 + 1).slice(0, size)
      const bytes = Buffer.from(`HTTP/1.1 200 OK\r\ncontent-length: ${size}\r\n\r\n${body}`)
      const sink = new CollectedBody()
      reader.reset(1_000_000, sink)
      let done = false
      for (let at = 0; at < bytes.length; at += 65_536)
        done = reader.push(bytes, at, Math.min(bytes.length, at + 65_536))
      expect(done).toBe(true)
      expect(sink.finish().toString('latin1')).toBe(body)
    }
  })
})
