import { describe, expect, it } from '@jest/globals'
import * as fc from 'fast-check'
import { encodeMessage, trailers, trailersOnly } from './response-headers.ts'
import { GrpcStatus } from './transport.ts'

describe('grpc-message', () => {
  it('leaves printable ASCII and encodes the rest', () => {
    expect(encodeMessage('no such pool: a/b ~')).toBe('no such pool: a/b ~')
    expect(encodeMessage('100%\r\n')).toBe('100%25%0D%0A')
    expect(encodeMessage('ü€')).toBe('%C3%BC%E2%82%AC')
  })

  it('is a header value that decodes to the same text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 60 }), text => {
        const encoded = encodeMessage(text)
        expect(encoded).toMatch(/^[ -~]*$/)
        expect(decodeURIComponent(encoded)).toBe(text)
      }),
    )
  })

  it('is cut before it bursts the headers', () => {
    expect(encodeMessage('x'.repeat(100_000))).toHaveLength(1024)
  })

  it('is absent when there is nothing to say', () => {
    expect(trailers(GrpcStatus.OK, undefined)).toEqual({ 'grpc-status': '0' })
    expect(trailers(GrpcStatus.OK, '')).toEqual({ 'grpc-status': '0' })
    expect(trailersOnly(GrpcStatus.OK, '', false)).not.toContain('grpc-message')
  })
})
