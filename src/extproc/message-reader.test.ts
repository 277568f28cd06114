import { create, toBinary } from '@bufbuild/protobuf'
import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { bytesInUse, bytesKeptSince } from '../grpc/suite/kept-memory.ts'
import { ProcessingRequestSchema } from '../gen/envoy/service/ext_proc/v3/external_processor_pb.ts'
import { decodeRequest, IncomingMessage } from './decode-request.ts'
import { MessageReader, PartResult } from './message-reader.ts'
import { RequestKind } from './modes.ts'

const MIB = 1024 * 1024

function bodyMessage(size: number, endOfStream = true): Buffer {
  const body = Buffer.alloc(size, 'x')
  return Buffer.from(
    toBinary(
      ProcessingRequestSchema,
      create(ProcessingRequestSchema, { request: { case: 'requestBody', value: { body, endOfStream } } }),
    ),
  )
}

/** Feeds a message cut at the given places; returns the last result, the body's bytes that came by, and the message. */
function feed(bytes: Buffer, cuts: readonly number[]) {
  const reader = new MessageReader()
  const message = new IncomingMessage()
  const places = [...new Set([...cuts.filter(cut => cut > 0 && cut < bytes.length), bytes.length])].sort(
    (a, b) => a - b,
  )
  let from = 0
  let body = 0
  let result: PartResult = PartResult.MORE
  for (const to of places) {
    const part = Buffer.from(bytes.subarray(from, to))
    from = to
    result = reader.part(part, bytes.length - to, message)
    if (result === PartResult.PIECE) {
      body += reader.pieceEnd - reader.pieceStart
      result = reader.finish(bytes.length - to, message)
    }
    if (result === PartResult.MALFORMED || result === PartResult.TOO_LARGE) break
  }
  if (result === PartResult.MESSAGE) body += message.bodyEnd - message.bodyStart
  return { result, body, message }
}

describe('MessageReader', () => {
  it('knows a large body whatever its first parts are (each of them once made it "too large")', () => {
    const size = 3 * 1024 * 1024
    const bytes = bodyMessage(size)
    for (let first = 1; first < 20; first++) {
      for (const second of [first + 1, first + 5, 70_000]) {
        const { result, body, message } = feed(bytes, [first, second, 100_000])
        expect([first, second, result, body]).toEqual([first, second, PartResult.MESSAGE, size])
        expect(message).toMatchObject({ kind: RequestKind.REQUEST_BODY, endOfStream: true })
      }
    }
  })

  it('gives the same for any cuts', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 400 }), fc.boolean(), fc.array(fc.nat(420)), (size, eos, cuts) => {
        const { result, body, message } = feed(bodyMessage(size, eos), cuts)
        expect([result, body, message.endOfStream]).toEqual([PartResult.MESSAGE, size, eos])
      }),
      { numRuns: 500 },
    )
  })

  it('bounds what it gathers of anything else', () => {
    const headers = [{ key: 'x', rawValue: Buffer.alloc(2 * 1024 * 1024, 'x') }]
    const message = create(ProcessingRequestSchema, {
      request: { case: 'requestHeaders', value: { headers: { headers } } },
    })
    const bytes = Buffer.from(toBinary(ProcessingRequestSchema, message))
    expect(feed(bytes, [1000]).result).toBe(PartResult.TOO_LARGE)
  })

  it('a message that comes byte by byte takes no more than its own size, twice', async () => {
    const reader = new MessageReader()
    const message = new IncomingMessage()
    const byte = Buffer.from('x')
    // The tag of request_headers, and a length: no body.
    reader.part(Buffer.from([0x12, 0x80, 0x80, 0x40]), 1024 * 1024, message)
    const before = bytesInUse()
    for (let left = 1024 * 1024 - 1; left > 0; left--) reader.part(byte, left, message)
    expect(await bytesKeptSince(before, 8 * MIB)).toBeLessThan(8 * MIB)
    expect(reader.busy).toBe(true)
  })

  it('takes no more headers than anybody has, and gives back the room of many', async () => {
    const list = (count: number): Buffer => {
      const headers = Array.from({ length: count }, () => ({ key: 'x' }))
      const value = { headers: { headers } }
      const message = create(ProcessingRequestSchema, { request: { case: 'requestHeaders', value } })
      return Buffer.from(toBinary(ProcessingRequestSchema, message))
    }
    expect(feed(list(4097), []).result).toBe(PartResult.MALFORMED)
    const most = list(4096)
    const before = bytesInUse()
    // Exchanges are pooled, thousands of them, and their views with them.
    const pooled = Array.from({ length: 500 }, () => {
      const message = new IncomingMessage()
      decodeRequest(most, 0, most.length, message)
      expect(message.headers.count).toBe(4096)
      message.clear()
      return message.headers
    })
    // Their positions alone would be 32 MiB.
    expect(await bytesKeptSince(before, 16 * MIB)).toBeLessThan(16 * MIB)
    expect(pooled).toHaveLength(500)
  })

  it('a body whose lengths contradict each other is malformed', () => {
    // request_body of 3 bytes that says its body has 100
    const bytes = Buffer.from([0x22, 0x03, 0x0a, 0x64, 0x61, 0x10, 0x01])
    expect(feed(bytes, [4]).result).toBe(PartResult.MALFORMED)
    expect(feed(bytes, []).result).toBe(PartResult.MALFORMED)
  })
})
