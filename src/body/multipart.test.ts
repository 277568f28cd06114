import { describe, expect, it } from '@jest/globals'
import * as fc from 'fast-check'
import { MultipartField, type MultipartLimits } from './multipart.ts'
import { ScanState } from './scan-state.ts'
import { cutAt, cutPositions, everySplit, feedLent, mutate, random } from './testing.ts'

const TYPE = 'multipart/form-data; boundary="b0un-d"'

function read(chunks: readonly Uint8Array[], limits?: MultipartLimits, contentType = TYPE) {
  return readWith(new MultipartField(limits), chunks, contentType)
}

function readWith(field: MultipartField, chunks: readonly Uint8Array[], contentType = TYPE) {
  expect(field.begin(contentType, 'model')).toBe(true)
  feedLent(chunks, chunk => field.feed(chunk))
  const state = field.finish()
  const { error, offset, count, start, end, complete, tooLong, text } = field
  return { state, error, offset, count, start, end, complete, tooLong, text }
}

/** A body in the way of a browser; `null` closes nothing. */
function form(...parts: readonly (readonly [disposition: string, content: string])[]): string {
  return `${parts.map(([disposition, content]) => `--b0un-d\r\nContent-Disposition: form-data; ${disposition}\r\n\r\n${content}\r\n`).join('')}--b0un-d--\r\n`
}

const MODEL = ['name="model"', 'whisper-1'] as const
const FILE = [
  'name="file"; filename="model.wav"\r\nContent-Type: audio/wav',
  '\r\n--b0un\r\n-\r\r\n--b0un-\0\xff',
] as const

describe('MultipartField', () => {
  it.each([
    ['alone', form(MODEL)],
    ['first', form(MODEL, FILE)],
    ['last', form(FILE, ['name="language"', 'en'], MODEL)],
    ['empty', form(['name="model"', ''], FILE)],
    ['with line ends and near-delimiters inside', form(['name="model"', '\r\n--b0un-\r\n--b0un\r\n\r'])],
    ['with UTF-8', form(['name="model"', Buffer.from('é中😀').toString('latin1')])],
    ['after a preamble', `this is ignored\r\n--b0un-\r\n${form(MODEL)}`],
    ['before an epilogue', `${form(MODEL)}--b0un-d\r\nignored`],
    ['with padded delimiters', form(MODEL).replace('--b0un-d\r\n', '--b0un-d \t\r\n')],
    ['without the last line end', form(MODEL).slice(0, -2)],
    ['with a name in quoted pairs', form(['name="mo\\del"', 'whisper-1'])],
    ['without quotes', form(['name=model', 'whisper-1'])],
  ])('finds the value %s', (_, text) => {
    const body = Buffer.from(text, 'latin1')
    const whole = read([body])
    expect(whole).toMatchObject({ state: ScanState.DONE, error: undefined, count: 1, complete: true, tooLong: false })
    const expected = /model"?\r\n\r\n([^]*?)\r\n--b0un-d(?:-|\r)|del"\r\n\r\n([^]*?)\r\n--b0un-d/.exec(text)!
    expect(body.toString('latin1', whole.start, whole.end)).toBe(expected[1] ?? expected[2])
    expect(whole.text).toBe(body.toString('utf8', whole.start, whole.end))
    for (const chunks of everySplit(body)) expect(read(chunks)).toEqual(whole)
  })

  it.each([
    [
      'no field of that name',
      form(FILE, ['name="models"', 'x'], ['name="Model"', 'y']),
      { count: 0, start: -1, text: '' },
    ],
    ['two', form(MODEL, FILE, ['name="model"', 'other']), { count: 2, text: 'whisper-1' }],
    [
      'a file of that name',
      form(['name="model"; filename="x"', 'y']),
      { count: 1, start: -1, complete: false, text: '' },
    ],
    ['a file, then a text', form(['name="model"; filename="x"', 'y'], MODEL), { count: 2, text: 'whisper-1' }],
    ['no parts', '--b0un-d--', { count: 0 }],
  ])('reads %s', (_, text, expected) => {
    for (const chunks of everySplit(Buffer.from(text, 'latin1')))
      expect(read(chunks)).toMatchObject({ state: ScanState.DONE, ...expected })
  })

  it.each([
    ['nothing', '', 'unexpected_end', 0],
    ['no delimiter', 'model=whisper-1', 'unexpected_end', 15],
    ['no closing delimiter', form(MODEL).slice(0, -4), 'unexpected_end', 77],
    ['another boundary', form(MODEL).replaceAll('b0un', 'B0un'), 'unexpected_end', 81],
    ['line ends without CR', form(MODEL).replaceAll('\r', ''), 'bad_delimiter', 8],
    ['a longer boundary', `--b0un-dX\r\n${form(MODEL)}`, 'bad_delimiter', 8],
    ['a half closed delimiter', '--b0un-d-\r\n', 'bad_delimiter', 9],
    ['CR alone', '--b0un-d\rx', 'bad_delimiter', 9],
    ['a part without headers', '--b0un-d\r\n\r\nx\r\n--b0un-d--', 'bad_part_header', 10],
    ['two names', form(['name="model"; name="x"', 'y']), 'bad_part_header', 10],
    ['an encoded value', form(['name="model"\r\nContent-Transfer-Encoding: base64', 'eA==']), 'encoded_value', 10],
  ])('refuses %s', (_, text, code, offset) => {
    for (const chunks of everySplit(Buffer.from(text, 'latin1')))
      expect(read(chunks)).toMatchObject({ state: ScanState.INVALID, error: { code, offset } })
  })

  it('takes encoded parts of other names', () => {
    const text = form(['name="x"\r\nContent-Transfer-Encoding: base64', 'eA=='], MODEL)
    expect(read([Buffer.from(text)])).toMatchObject({ state: ScanState.DONE, text: 'whisper-1' })
  })

  it('has the value before the body ends', () => {
    const field = new MultipartField()
    field.begin(TYPE, 'model')
    expect(field.feed(Buffer.from(form(MODEL, FILE).slice(0, 80)))).toBe(ScanState.MORE)
    expect([field.complete, field.text]).toEqual([true, 'whisper-1'])
  })

  it('refuses a content type without a boundary, and every byte after it', () => {
    const field = new MultipartField()
    expect(field.begin('multipart/form-data', 'model')).toBe(false)
    expect(field.feed(Buffer.from(form(MODEL)))).toBe(ScanState.INVALID)
    expect(field.finish()).toBe(ScanState.INVALID)
    expect(field.error).toEqual({ code: 'no_boundary', offset: 0 })
  })

  describe('limits', () => {
    it('of the value', () => {
      const limits = { maxValueBytes: 9 }
      expect(read([Buffer.from(form(MODEL))], limits)).toMatchObject({ tooLong: false, text: 'whisper-1' })
      for (const chunks of everySplit(Buffer.from(form(['name="model"', 'whisper-12']))))
        expect(read(chunks, limits)).toMatchObject({ state: ScanState.DONE, tooLong: true, text: '', complete: true })
    })

    it('of headers', () => {
      // "Content-Disposition: form-data; name="model"" and two line ends.
      expect(read([Buffer.from(form(MODEL))], { maxHeaderBytes: 48 })).toMatchObject({ state: ScanState.DONE })
      for (const chunks of everySplit(Buffer.from(form(MODEL))))
        expect(read(chunks, { maxHeaderBytes: 47 }).error).toEqual({ code: 'header_too_long', offset: 10 })
      const endless = Buffer.from(`--b0un-d\r\nX: ${'x'.repeat(20_000)}`)
      for (const chunks of [[endless], cutAt(endless, [5000, 9999])])
        expect(read(chunks).error).toEqual({ code: 'header_too_long', offset: 10 })
    })

    it('of parts', () => {
      expect(read([Buffer.from(form(FILE, MODEL))], { maxParts: 2 })).toMatchObject({ state: ScanState.DONE })
      for (const chunks of everySplit(Buffer.from(form(FILE, MODEL), 'latin1')))
        expect(read(chunks, { maxParts: 1 }).error).toMatchObject({ code: 'too_many_parts' })
    })
  })

  it('reads a window of a chunk only', () => {
    const body = form(MODEL)
    const chunk = Buffer.from(`--b0un-d--${body}${body}`)
    const field = new MultipartField()
    field.begin(TYPE, 'model')
    field.feed(chunk, 10, 30)
    field.feed(chunk, 30, 10 + body.length)
    expect([field.finish(), field.offset, field.text]).toEqual([ScanState.DONE, body.length, 'whisper-1'])
  })

  it('any form in any chunks: what was put in', () => {
    const content = fc
      .array(fc.constantFrom('\r\n', '\r', '\n', '--b0un-', 'b0un-d', '-', '\0', 'x'.repeat(600), 'é'), {
        maxLength: 12,
      })
      .map(pieces => pieces.join(''))
      .filter(text => !`\r\n${text}\r\n--b0un-d`.slice(0, -2).includes('\r\n--b0un-d'))
    const disposition = fc.constantFrom('name="model"', 'name="x"', 'name="file"; filename="model"', 'name=models')
    const reused = new MultipartField()
    fc.assert(
      fc.property(fc.array(fc.tuple(disposition, content), { maxLength: 5 }), cutPositions, (parts, cuts) => {
        const body = Buffer.from(form(...parts))
        const outcome = readWith(reused, cutAt(body, cuts))
        const values = parts.filter(([name]) => name === 'name="model"')
        expect(outcome).toMatchObject({ state: ScanState.DONE, count: values.length, text: values[0]?.[1] ?? '' })
        if (values.length > 0) expect(body.subarray(outcome.start, outcome.end).toString()).toBe(values[0]![1])
      }),
      { numRuns: 300 },
    )
  })

  it('mutated forms in any chunks: the same as in one', () => {
    const pick = random(7)
    const body = Buffer.from(form(FILE, MODEL, ['name="x"', 'y']), 'latin1')
    const states = new Set<ScanState>()
    for (let i = 0; i < 1500; i++) {
      const mutated = mutate(body, '\r\n-b0";:=model \\\u0000', pick)
      const whole = read([mutated])
      states.add(whole.state)
      expect(read(cutAt(mutated, [pick(300), pick(300), pick(300)]))).toEqual(whole)
    }
    expect(states).toEqual(new Set([ScanState.DONE, ScanState.INVALID]))
  })
})
