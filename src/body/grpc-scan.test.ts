import { describe, expect, it } from '@jest/globals'
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire'
import { type GrpcFields, GrpcScanner } from './grpc-scan.ts'
import { ScanState } from './scan-state.ts'

const FIELDS: GrpcFields = {
  1: { is: 'bytes', id: 1 },
  2: { 2: { is: 'numbers', id: 2 }, 3: { 1: { is: 'bytes', id: 3 } } },
  4: { is: 'number', id: 4 },
}

function frame(message: Uint8Array, flag = 0): Buffer {
  const head = Buffer.alloc(5, 0)
  head[0] = flag
  head.writeUInt32BE(message.length, 1)
  return Buffer.concat([head, message])
}

/** What is found, pieces put together; and whether the bytes are well-formed. */
function scan(bytes: Uint8Array, chunk: number) {
  const found: unknown[] = []
  let text = ''
  let textId = -1
  const flush = () => {
    if (textId >= 0) found.push([textId, text])
    text = ''
    textId = -1
  }
  const scanner = new GrpcScanner({
    bytes: (id, piece, start, end) => {
      if (id !== textId) flush()
      textId = id
      text += Buffer.from(piece.subarray(start, end)).toString('latin1')
    },
    number: (id, value) => {
      flush()
      found.push([id, value])
    },
    message: () => {
      flush()
      found.push('over')
    },
  })
  scanner.begin(FIELDS)
  let state: ScanState = ScanState.DONE
  for (let at = 0; at < bytes.length && state !== ScanState.INVALID; at += chunk)
    state = scanner.feed(bytes, at, Math.min(bytes.length, at + chunk))
  flush()
  return { found, state, compressed: scanner.compressed }
}

function message(): BinaryWriter {
  return new BinaryWriter()
}

describe.each([1, 2, 3, 5, 4096])('gRPC messages in chunks of %i bytes', chunk => {
  it('wanted fields are found, whatever stands around them', () => {
    const inner = message().tag(1, WireType.LengthDelimited).string('deep').tag(9, WireType.Varint).uint32(7).finish()
    const middle = message()
      .tag(1, WireType.LengthDelimited)
      .string('not wanted')
      .tag(2, WireType.LengthDelimited)
      .bytes(Buffer.from([1, 0xac, 2, 0xff, 0xff, 0xff, 0xff, 0x0f]))
      .tag(2, WireType.Varint)
      .uint32(5)
      .tag(3, WireType.LengthDelimited)
      .bytes(inner)
      .finish()
    const outer = message()
      .tag(7, WireType.Bit64)
      .fixed64(1n)
      .tag(8, WireType.Bit32)
      .fixed32(1)
      .tag(300, WireType.LengthDelimited)
      .string('x'.repeat(300))
      .tag(1, WireType.LengthDelimited)
      .string('text')
      .tag(2, WireType.LengthDelimited)
      .bytes(middle)
      .tag(4, WireType.Varint)
      .uint64(2n ** 52n)
      .finish()
    const empty = frame(new Uint8Array())
    const all = [[1, 'text'], [2, 1], [2, 300], [2, 2 ** 32 - 1], [2, 5], [3, 'deep'], [4, 2 ** 52], 'over']
    expect(scan(Buffer.concat([frame(outer), empty, frame(outer)]), chunk)).toEqual({
      found: [...all, 'over', ...all],
      state: ScanState.DONE,
      compressed: false,
    })
  })

  it('empty messages and fields are nothing', () => {
    const bytes = frame(
      message()
        .tag(2, WireType.LengthDelimited)
        .bytes(new Uint8Array())
        .tag(1, WireType.LengthDelimited)
        .string('')
        .finish(),
    )
    expect(scan(bytes, chunk)).toEqual({ found: ['over'], state: ScanState.DONE, compressed: false })
  })

  it.each([
    ['a field that is longer than its message', [0, 0, 0, 0, 2, 0x0a, 9]],
    ['a message that is longer than the one around it', [0, 0, 0, 0, 3, 0x12, 9, 0]],
    ['a number that goes on beyond its message', [0, 0, 0, 0, 2, 0x20, 0x80, 0]],
    ['packed numbers that do', [0, 0, 0, 0, 5, 0x12, 3, 0x12, 1, 0x80]],
    ['a number without end', [0, 0, 0, 0, 20, 0x20, ...Array.from({ length: 12 }, () => 0x80)]],
    ['a group', [0, 0, 0, 0, 1, 0x0b]],
    ['field 0', [0, 0, 0, 0, 2, 0x02, 0]],
    ['an unknown flag', [2, 0, 0, 0, 0]],
  ])('%s is an error', (_name, bytes) => {
    expect(scan(Buffer.from([...bytes, 0, 0]), chunk)).toMatchObject({ state: ScanState.INVALID, compressed: false })
  })

  it('compression is told apart; what is cut is not over', () => {
    expect(scan(frame(Buffer.from([1, 2]), 1), chunk)).toMatchObject({ state: ScanState.INVALID, compressed: true })
    const bytes = frame(message().tag(1, WireType.LengthDelimited).string('text').finish())
    for (let length = 1; length < bytes.length; length++)
      expect(scan(bytes.subarray(0, length), chunk).state).toBe(ScanState.MORE)
  })
})
