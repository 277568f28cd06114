import { describe, expect, it } from '@jest/globals'
import * as fc from 'fast-check'
import { SseFramer, type SseLimits } from './sse.ts'
import { cutAt, cutPositions, everySplit, feedLent } from './testing.ts'

interface Event {
  readonly data: string
  readonly type: string
  readonly id: string
  readonly retry: number | undefined
  readonly offset: number
  readonly cutOff: boolean
}

interface Outcome {
  readonly events: Event[]
  /** The most memory that was held. */
  readonly held: number
}

function frame(chunks: readonly Uint8Array[], limits?: SseLimits): Outcome {
  const events: Event[] = []
  let pieces = ''
  const take = (bytes: Uint8Array, start: number, end: number) => {
    pieces += Buffer.from(bytes.subarray(start, end)).toString('latin1')
  }
  const framer = new SseFramer(
    event => {
      const data = event.inPieces ? Buffer.from(pieces, 'latin1').toString() : event.text()
      pieces = ''
      events.push({
        data,
        type: event.type,
        id: event.lastEventId,
        retry: event.retry,
        offset: event.dataOffset,
        cutOff: event.cutOff,
      })
      expect(Buffer.from(event.bytes.subarray(event.dataStart, event.dataEnd)).toString()).toBe(event.text())
    },
    take,
    limits,
  )
  let held = framer.heldBytes
  feedLent(chunks, chunk => {
    framer.feed(chunk)
    held = Math.max(held, framer.heldBytes)
  })
  framer.finish()
  framer.reset()
  expect(framer.heldBytes).toBeLessThanOrEqual(8192)
  return { events, held }
}

/** The specification's algorithm over the whole text; a last unfinished event counts. Byte offsets are not part of it. */
function reference(text: string): Omit<Event, 'offset'>[] {
  const events: Omit<Event, 'offset'>[] = []
  let data: string[] = []
  let type = ''
  let id = ''
  let retry: number | undefined
  const lines = text.replace(/^\uFEFF/, '').split(/\r\n|\r|\n/)
  lines.forEach((line, index) => {
    const last = index === lines.length - 1
    const [, name, value] = /^([^:]*):? ?([^]*)$/.exec(line)!
    if (name === 'data') data.push(value!)
    if (name === 'event') type = value!
    if (name === 'id' && !value!.includes('\0')) id = value!
    if (name === 'retry' && /^[0-9]{1,15}$/.test(value!)) retry = Number(value)
    if (line !== '' && !last) return
    if (data.length > 0) events.push({ data: data.join('\n'), type, id, retry, cutOff: last })
    data = []
    type = ''
  })
  return events
}

const data = (text: string, options?: SseLimits) => frame([Buffer.from(text)], options).events.map(event => event.data)

const noPiece = () => {
  throw new Error('not in pieces')
}

describe('SseFramer', () => {
  it.each([
    ['LF', 'data: a\n\ndata: b\n\n', ['a', 'b']],
    ['CRLF', 'data: a\r\n\r\ndata: b\r\n\r\n', ['a', 'b']],
    ['CR', 'data: a\r\rdata: b\r\r', ['a', 'b']],
    ['mixed ends', 'data: a\r\n\ndata: b\n\rdata: c\r\r\n', ['a', 'b', 'c']],
    ['no space after the colon', 'data:a\n\n', ['a']],
    ['two spaces', 'data:  a\n\n', [' a']],
    ['several lines', 'data: a\ndata:\ndata: b\n\n', ['a\n\nb']],
    ['lines split by other fields', 'data: a\nevent: x\n: note\ndata: b\n\n', ['a\nb']],
    ['empty data', 'data\n\ndata:\n\n', ['', '']],
    ['events without data', 'event: ping\n\nid: 7\n\n: note\n\n', []],
    ['comments', ': keep-alive\n\n:\ndata: a\n\n', ['a']],
    ['unknown fields', 'dat: x\ndatax: y\nfoo\n data: z\ndata: a\n\n', ['a']],
    ['a byte order mark', '\uFEFFdata: a\n\n', ['a']],
    ['a byte order mark later', 'data: a\n\n\uFEFFdata: b\n\n', ['a']],
    ['no blank line at the end', 'data: a\n\ndata: b\n', ['a', 'b']],
    ['no line end at the end', 'data: a\n\ndata: b', ['a', 'b']],
    ['a colon in the data', 'data: {"a": "b:c"}\n\n', ['{"a": "b:c"}']],
    ['[DONE]', 'data: {"usage":{}}\n\ndata: [DONE]\n\n', ['{"usage":{}}', '[DONE]']],
    ['UTF-8', 'data: é中😀\n\n', ['é中😀']],
    ['nothing', '', []],
    ['blank lines', '\n\r\n\r\r\n', []],
  ])('frames %s', (_, text, expected) => {
    expect(data(text)).toEqual(expected)
    for (const chunks of everySplit(Buffer.from(text))) expect(frame(chunks)).toEqual(frame([Buffer.from(text)]))
  })

  it('knows event, id and retry', () => {
    const { events } = frame([
      Buffer.from('event: x\nid: 1\nretry: 10\ndata: a\n\ndata: b\nid: n\0o\nretry: 1x\n\nid\ndata: c\n\n'),
    ])
    expect(events).toMatchObject([
      { data: 'a', type: 'x', id: '1', retry: 10 },
      { data: 'b', type: '', id: '1', retry: 10 },
      { data: 'c', type: '', id: '', retry: 10 },
    ])
  })

  it('tells where the data of one line lies', () => {
    const text = '\uFEFFdata: é1\r\n\r\ndata:22\n\ndata: 3\ndata: 4\n\n'
    const bytes = Buffer.from(text)
    for (const chunks of everySplit(bytes)) {
      const { events } = frame(chunks)
      expect(events.map(event => event.offset)).toEqual([bytes.indexOf('é1'), bytes.indexOf('22'), -1])
    }
  })

  it('does not copy data that lies in one chunk', () => {
    const chunk = Buffer.from('data: abc\n\n')
    let same = false
    new SseFramer(event => {
      same = event.bytes === chunk
    }, noPiece).feed(chunk)
    expect(same).toBe(true)
  })

  it('passes over whole events between two events only', () => {
    const data: string[] = []
    const framer = new SseFramer(
      event => data.push(event.text()),
      () => {},
    )
    const feed = (text: string) => framer.feed(Buffer.from(text))
    const skip = (text: string) => framer.skip(Buffer.from(`??${text}??`), 2, 2 + Buffer.byteLength(text))
    expect(skip('\uFEFFdata: 1\n\n')).toBe(true)
    expect(skip('data: 2\n')).toBe(false)
    expect(skip('\n')).toBe(false)
    feed('\n')
    feed('data: 3\n')
    expect(skip('data: 4\n\n')).toBe(false)
    feed('data: 5\n\nda')
    expect(skip('ta: 6\n\n')).toBe(false)
    feed('ta: 7\n\n')
    expect(framer.offset).toBe(Buffer.byteLength('\uFEFFdata: 1\n\n\ndata: 3\ndata: 5\n\ndata: 7\n\n'))
    expect(skip('event: a\ndata: 8\n\ndata: 9\n\n')).toBe(true)
    feed(`data: ${'x'.repeat(20_000)}`)
    expect(skip('data: 10\n\n')).toBe(false)
    feed('\n\ndata: 11\n\n')
    expect(data).toEqual(['3\n5', '7', '', '11'])
  })

  it('reads a window of a chunk only', () => {
    const seen: string[] = []
    const framer = new SseFramer(event => seen.push(`${event.text()}@${event.dataOffset}`), noPiece)
    const chunk = Buffer.from('xxdata: ab\n\ndata: c\n\nyy')
    framer.feed(chunk, 2, 9)
    framer.feed(chunk, 9, chunk.length - 2)
    expect(seen).toEqual(['ab@6', 'c@16'])
    expect(framer.offset).toBe(chunk.length - 4)
  })

  it('can be used again', () => {
    const seen: string[] = []
    const framer = new SseFramer(
      event => seen.push(event.text() + event.lastEventId + event.type + event.cutOff),
      noPiece,
    )
    framer.feed(Buffer.from('id: 1\nevent: x\ndata: a\r'))
    framer.finish()
    framer.reset()
    framer.feed(Buffer.from('\n\uFEFF\ndata: b\n\n'))
    expect(seen).toEqual(['a1xtrue', 'bfalse'])
    expect(framer.offset).toBe(14)
  })

  describe('limit', () => {
    it.each([
      ['one line', 'data: 1\n\ndata: 2345678901234567890\n\ndata: 4\n\n', ['1', '2345678901234567890', '4']],
      ['a line without an end', 'data: 1\n\ndata: 2345678901234567890', ['1', '2345678901234567890']],
      ['a comment', 'data: 1\n: 234567890123456789\n\ndata: 4\n\n', ['1', '4']],
      ['other names', 'data: 1\ndatas: 234567890123456789\nevent: 234567890123456789\n\n', ['1']],
      ['a mark', '\uFEFFdata: 234567890123456789\n\ndata: 4\n\n', ['234567890123456789', '4']],
      ['joined lines', 'data: 123456789\ndata\ndata: 123456789\n\ndata: 4\n\n', ['123456789\n\n123456789', '4']],
      ['a long line among others', 'data: 1\ndata:2345678901234567890\ndata: 4\n\n', ['1\n2345678901234567890\n4']],
      ['CRLF', 'data: 2345678901234567890\r\ndata:\r\n\r\ndata: 4\r\n\r\n', ['2345678901234567890\n', '4']],
    ])('holds no more: %s', (_, text, expected) => {
      for (const chunks of [...everySplit(Buffer.from(text)), [...Buffer.from(text)].map(byte => Buffer.of(byte))]) {
        const { events } = frame(chunks, { maxHeldBytes: 16 })
        expect(events.map(event => event.data)).toEqual(expected)
        expect(events.every(event => event.type === '')).toBe(true)
      }
    })

    it('of memory, which is given back with the stream', () => {
      const text = `data: ${'a'.repeat(1_000_000)}\ndata: ${'b'.repeat(1_000_000)}`
      const { events, held } = frame(cutAt(Buffer.from(text), [10_000, 20_000, 1_000_000, 1_010_000, 1_990_000]))
      expect(events.map(event => event.data.length)).toEqual([2_000_001])
      expect(held).toBeLessThanOrEqual(64 * 1024)
    })
  })

  it('frames any text in any chunks as the reference does', () => {
    const piece = fc.constantFrom(
      'data',
      'data:',
      'data: ',
      ':',
      ' ',
      '\n',
      '\r',
      '\r\n',
      '\n\n',
      'é',
      'event:',
      'id: ',
      'retry:',
      '5',
      '\0',
      '\uFEFF',
      'x'.repeat(300),
    )
    fc.assert(
      fc.property(
        fc.array(piece, { maxLength: 40 }),
        cutPositions,
        fc.constantFrom(400, 16_384),
        (pieces, cuts, most) => {
          const text = pieces.join('')
          const { events } = frame(cutAt(Buffer.from(text), cuts), { maxHeldBytes: most })
          expect(events).toMatchObject(reference(text))
          expect(events).toHaveLength(reference(text).length)
          for (const event of events)
            if (event.offset !== -1)
              expect(Buffer.from(text).subarray(event.offset).toString().startsWith(event.data)).toBe(true)
        },
      ),
      { numRuns: 500 },
    )
  })
})
