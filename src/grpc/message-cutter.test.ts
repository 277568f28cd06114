import { describe, expect, it } from '@jest/globals'
import * as fc from 'fast-check'
import { frameMessage, writePrefix } from './framing.ts'
import { CutResult, MessageCutter } from './message-cutter.ts'
import type { MessageSink } from './message-cutter.ts'

class Collector implements MessageSink {
  readonly messages: number[][] = []
  parts = 0
  stopAfter = Number.POSITIVE_INFINITY
  private current: number[] = []
  private expected: number | undefined

  part(part: Uint8Array, remaining: number): boolean {
    this.parts++
    if (this.expected !== undefined) expect(part.length + remaining).toBe(this.expected)
    this.current.push(...part)
    this.expected = remaining
    if (remaining === 0) {
      this.messages.push(this.current)
      this.current = []
      this.expected = undefined
    }
    return this.parts < this.stopAfter
  }
}

function cutAll(chunks: readonly Uint8Array[], max = 1 << 20): { sink: Collector; result: CutResult; inside: boolean } {
  const cutter = new MessageCutter(max)
  const sink = new Collector()
  let result: CutResult = CutResult.OK
  for (const chunk of chunks) result = cutter.cut(chunk, sink)
  return { sink, result, inside: cutter.insideMessage }
}

const wire = Buffer.concat([[1, 2, 3], [], [4], [], [5, 6, 7, 8, 9]].map(bytes => frameMessage(Uint8Array.from(bytes))))
const messages = [[1, 2, 3], [], [4], [], [5, 6, 7, 8, 9]]

describe('MessageCutter', () => {
  it('cuts many messages out of one chunk', () => {
    const { sink, result, inside } = cutAll([wire])
    expect(sink.messages).toEqual(messages)
    expect(sink.parts).toBe(5)
    expect(result).toBe(CutResult.OK)
    expect(inside).toBe(false)
  })

  it('gives the same messages split in two at any byte, and in single bytes', () => {
    for (let at = 0; at <= wire.length; at++) {
      expect(cutAll([wire.subarray(0, at), wire.subarray(at)]).sink.messages).toEqual(messages)
    }
    expect(cutAll(Array.from(wire, byte => Uint8Array.of(byte))).sink.messages).toEqual(messages)
  })

  it('gives the same messages for any messages and any split', () => {
    const arbitrary = fc.tuple(
      fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 8 }),
      fc.array(fc.nat(300), { maxLength: 12 }),
    )
    fc.assert(
      fc.property(arbitrary, ([sent, cuts]) => {
        const bytes = Buffer.concat(sent.map(frameMessage))
        const edges = [0, ...cuts.map(cut => Math.min(cut, bytes.length)).toSorted((a, b) => a - b), bytes.length]
        const chunks = edges.slice(1).map((end, i) => bytes.subarray(edges[i], end))
        const { sink, inside } = cutAll(chunks)
        expect(sink.messages).toEqual(sent.map(message => [...message]))
        expect(inside).toBe(false)
      }),
    )
  })

  it('passes the parts of a message on before it is complete', () => {
    const cutter = new MessageCutter(100)
    const seen: [number, number][] = []
    const sink = { part: (part: Uint8Array, remaining: number) => seen.push([part.length, remaining]) > 0 }
    const message = frameMessage(new Uint8Array(10))
    cutter.cut(message.subarray(0, 5), sink)
    expect(seen).toEqual([])
    expect(cutter.insideMessage).toBe(true)
    cutter.cut(message.subarray(5, 9), sink)
    expect(seen).toEqual([[4, 6]])
    cutter.cut(message.subarray(9), sink)
    expect(seen).toEqual([
      [4, 6],
      [6, 0],
    ])
    expect(cutter.insideMessage).toBe(false)
  })

  it.each([
    ['compressed', 1, CutResult.COMPRESSED],
    ['undefined', 2, CutResult.BAD_FLAG],
    ['undefined', 0x81, CutResult.BAD_FLAG],
  ])('refuses %s flags (%i) and everything behind them', (_name, flag, expected) => {
    const bad = Buffer.concat([
      frameMessage(Uint8Array.of(1)),
      Uint8Array.of(flag, 0, 0, 0, 1, 9),
      frameMessage(Uint8Array.of(2)),
    ])
    for (const chunks of [[bad], Array.from(bad, byte => Uint8Array.of(byte))]) {
      const { sink, result } = cutAll(chunks)
      expect(result).toBe(expected)
      expect(sink.messages).toEqual([[1]])
    }
  })

  it('refuses a message over the cap at its prefix, and takes one at the cap', () => {
    expect(cutAll([frameMessage(new Uint8Array(8))], 8).result).toBe(CutResult.OK)
    const prefix = new Uint8Array(5)
    writePrefix(prefix, 0, 9)
    expect(cutAll([prefix], 8).result).toBe(CutResult.TOO_LARGE)
    writePrefix(prefix, 0, 0xffffffff)
    expect(
      cutAll(
        Array.from(prefix, byte => Uint8Array.of(byte)),
        2 ** 31,
      ).result,
    ).toBe(CutResult.TOO_LARGE)
  })

  it('stops when the sink has enough', () => {
    const cutter = new MessageCutter(100)
    const sink = new Collector()
    sink.stopAfter = 2
    expect(cutter.cut(wire, sink)).toBe(CutResult.STOPPED)
    expect(cutter.cut(wire, sink)).toBe(CutResult.STOPPED)
    expect(sink.messages).toEqual(messages.slice(0, 2))
  })
})
