import { describe, expect, it } from '@jest/globals'
import { FieldType } from './json-fields.ts'
import { compileScan, type ScanLimits, type Wanted } from './json-program.ts'
import { JsonScanner, ScanState } from './json-scan.ts'
import { outcomeOf, scan, WANTED } from './json-scan.testing.ts'
import { everySplit } from './testing.ts'

function scanned(body: string | Uint8Array, wanted: readonly Wanted[] = WANTED, limits?: ScanLimits): JsonScanner {
  const scanner = new JsonScanner(compileScan(wanted, limits))
  scanner.feed(typeof body === 'string' ? Buffer.from(body) : body)
  return scanner
}

describe('agrees with JSON.parse on', () => {
  const valid = [
    '{}',
    '[]',
    '""',
    '0',
    '-0',
    '12.5e-3',
    '1E5',
    'true',
    'false',
    'null',
    ' \t\r\n{ \n"model" \t:\r"m" , "x" : [ ] , "y" : { } } \n',
    '{"a":{"b":[{"b":1}]},"model":{"model":"deep"}}',
    '[{"model":"in an array"},[[[]]],"\\\\","\\"",-1.0e+10]',
    '{"":{"model":"empty key"},"mod\\u0065l":"escaped"}',
    '{"model":"\\u00e9\\ud83d\\ude00\\n\\/\\b\\f\\r\\t\\"\\\\"}',
    '{"model":"\\ud800"}',
    '{"model":"中文","messages":{"é":[1,"x"]}}',
    '{"model":1.50,"a":{"b":null}}',
    `"${'x'.repeat(200)}\\\\"`,
    `{"x":"${'\\"'.repeat(100)}${'y'.repeat(70)}\\\\","model":"m"}`,
    '1 ',
    `{"x":"\u007f\u2028"}`,
  ]
  const invalid = [
    '',
    ' ',
    '{',
    '[',
    '"',
    '"\\"',
    '{"a":}',
    '{,}',
    '[1,]',
    '[,1]',
    '{"a" 1}',
    '{"a":1,}',
    '{"a":1 "b":2}',
    '{a:1}',
    "{'a':1}",
    '{"a"}',
    '{"a",1}',
    '{1:2}',
    'nul',
    'nulll',
    'True',
    'tru',
    '01',
    '-',
    '-a',
    '+1',
    '.5',
    '1.',
    '1.e3',
    '1e',
    '1e+',
    '1-2',
    '1.2.3',
    '--1',
    'NaN',
    'Infinity',
    '0x10',
    '[1 2]',
    '{]',
    '[}',
    '{"a":[}]',
    ']',
    '}',
    ',',
    ':',
    '{}{}',
    '1 2',
    '"a""b"',
    '[1]]',
    '{"model":"m"}x',
    '{"model":"a\\x"}',
    '{"model":"a\\u12g4"}',
    '{"model":"a\nb"}',
    '{"mo\\x":1}',
    '{"mo\u0001":1}',
    '/* no */ 1',
    '\u00a01',
    '\u0000',
    '{"model":"m"}\u0000',
    '\u{FEFF}\u{FEFF}1',
    '{"a":01}',
    '{"a":tru}',
    '{"a":1.}',
  ]
  it.each(valid)('valid: %j', text => {
    expect(() => JSON.parse(text) as unknown).not.toThrow()
    for (const chunks of everySplit(Buffer.from(text)))
      expect(outcomeOf(new JsonScanner(compileScan(WANTED)), WANTED, chunks)).toEqual(scan(text))
    expect(scan(text).state).toBe(ScanState.DONE)
  })
  it.each(invalid)('invalid: %j', text => {
    expect(() => JSON.parse(text) as unknown).toThrow()
    for (const chunks of everySplit(Buffer.from(text)))
      expect(outcomeOf(new JsonScanner(compileScan(WANTED)), WANTED, chunks)).toEqual(scan(text))
    expect(scan(text).state).toBe(ScanState.INVALID)
  })
})

describe('fields', () => {
  const model = 0
  it('are found by their path only', () => {
    const scanner = scanned(
      '{"x":{"model":1},"y":[{"model":2}],"models":3,"mode":4,"Model":5,"a":{"model":6,"a":{"b":7}}}',
    )
    expect(scanner.type(model)).toBe(FieldType.ABSENT)
    expect(scanner.start(model)).toBe(-1)
    expect(scanner.type(1)).toBe(FieldType.ABSENT)
    expect(scanner.type(2)).toBe(FieldType.OBJECT)
  })

  it('are compared after unescaping, and counted', () => {
    const body = '{"mod\\u0065l":"first","model":"second","\\u006D\\u006F\\u0064\\u0065\\u006C":3}'
    const scanner = scanned(body)
    expect(scanner.count(model)).toBe(3)
    expect(scanner.repeated(model)).toBe(true)
    expect(scanner.text(model)).toBe('first')
    expect(body.slice(scanner.start(model), scanner.end(model))).toBe('"first"')
  })

  it('are repeated when a key above them is', () => {
    const scanner = scanned('{"a":{"b":1},"a":{}}')
    expect([scanner.count(1), scanner.repeated(1), scanner.text(1)]).toEqual([1, true, '1'])
  })

  it.each([
    ['"m"', FieldType.STRING, 'm'],
    ['""', FieldType.STRING, ''],
    ['-1.50e3', FieldType.NUMBER, '-1.50e3'],
    ['true', FieldType.TRUE, 'true'],
    ['false', FieldType.FALSE, 'false'],
    ['null', FieldType.NULL, 'null'],
    ['{"x":1}', FieldType.OBJECT, ''],
    ['["m"]', FieldType.ARRAY, ''],
  ])('have type and text: %s', (value, type, text) => {
    const body = `{ "model" : ${value} , "z":0}`
    for (const chunks of everySplit(Buffer.from(body))) {
      const { fields } = outcomeOf(new JsonScanner(compileScan(WANTED)), WANTED, chunks)
      expect(fields[model]).toMatchObject({ type, text, start: 12, end: 12 + value.length, count: 1 })
    }
  })

  it('show their beginning before their end', () => {
    const scanner = scanned('{"model":"gp')
    expect([scanner.type(model), scanner.start(model), scanner.end(model)]).toEqual([FieldType.STRING, 9, -1])
    expect([scanner.complete(model), scanner.text(model), scanner.count(model)]).toEqual([false, '', 1])
    expect(scanner.feed(Buffer.from('t"'))).toBe(ScanState.MORE)
    expect([scanner.complete(model), scanner.text(model)]).toEqual([true, 'gpt'])
  })

  it.each([[[0xff]], [[0xc3]], [[0xed, 0xa0, 0x80]], [[0xc0, 0xaf]], [[0xf4, 0x90, 0x80, 0x80]], [[0x80]]])(
    'are bad strings when they are no UTF-8: %j',
    bytes => {
      for (const [before, after] of [
        ['a', ''],
        ['', '\\n'],
      ] as const) {
        const body = Buffer.concat([Buffer.from(`{"model":"${before}`), Buffer.from(bytes), Buffer.from(`${after}"}`)])
        for (const chunks of everySplit(body)) {
          const { state, error } = outcomeOf(new JsonScanner(compileScan(WANTED)), WANTED, chunks)
          expect([state, error]).toEqual([ScanState.INVALID, { code: 'bad_string', offset: 9 }])
        }
      }
    },
  )

  it('may be any UTF-8, in any split', () => {
    for (const text of ['é', '模型', '🚂', '\uFFFD', '\uFEFF']) {
      for (const chunks of everySplit(Buffer.from(`{"model":"${text}"}`))) {
        expect(outcomeOf(new JsonScanner(compileScan(WANTED)), WANTED, chunks).fields[model]).toMatchObject({ text })
      }
    }
  })

  it('count a byte order mark in their offsets', () => {
    for (const chunks of everySplit(Buffer.from('\uFEFF{"model":"m"}'))) {
      const { state, fields } = outcomeOf(new JsonScanner(compileScan(WANTED)), WANTED, chunks)
      expect(state).toBe(ScanState.DONE)
      expect(fields[model]).toMatchObject({ text: 'm', start: 12, end: 15 })
    }
  })

  it('stream inside each other', () => {
    const messages = '{"x":1,"é":["a\\"b", {}]}'
    const body = Buffer.from(`{"messages": ${messages} ,"messages":2}`)
    for (const chunks of everySplit(body)) {
      const { streamed } = outcomeOf(new JsonScanner(compileScan(WANTED)), WANTED, chunks)
      expect(streamed[3]).toBe(Buffer.from(messages).toString('latin1'))
      expect(streamed[4]).toBe('["a\\"b", {}]')
    }
  })

  it('may be wanted in two kinds', () => {
    const wanted: Wanted[] = [
      { path: ['m'], kind: 'text' },
      { path: ['m'], kind: 'stream' },
    ]
    const { fields, streamed } = scan('{"m":"x"}', wanted)
    expect(fields[0]).toMatchObject({ text: 'x' })
    expect(streamed).toEqual(['', '"x"'])
  })

  it('can be the root', () => {
    const wanted: Wanted[] = [{ path: [], kind: 'text' }]
    for (const chunks of everySplit(Buffer.from(' 12.5')))
      expect(outcomeOf(new JsonScanner(compileScan(wanted)), wanted, chunks).fields[0]).toMatchObject({
        text: '12.5',
        start: 1,
        end: 5,
      })
  })

  it('are none of an index that was not asked for', () => {
    expect(() => scanned('{}').text(7)).toThrow(RangeError)
  })
})

describe('limits', () => {
  it('of depth', () => {
    const nested = (depth: number) => '['.repeat(depth) + ']'.repeat(depth)
    expect(scan(nested(4), WANTED, { maxDepth: 4 }).state).toBe(ScanState.DONE)
    expect(scan(nested(5), WANTED, { maxDepth: 4 }).error).toEqual({ code: 'too_deep', offset: 4 })
    expect(scan('{"a":'.repeat(100_000)).error).toEqual({ code: 'too_deep', offset: 5 * 256 })
  })

  it('of text: a longer one has none, but a place', () => {
    const body = (bytes: number) => Buffer.from(`{"a":{"b":123456789},"model":"${'x'.repeat(bytes)}","":{"model":"y"}}`)
    for (const chunks of everySplit(body(9))) {
      const { state, fields } = outcomeOf(new JsonScanner(compileScan(WANTED, { maxTextBytes: 8 })), WANTED, chunks)
      expect(state).toBe(ScanState.DONE)
      expect(fields[0]).toMatchObject({ type: FieldType.STRING, text: '', tooLong: true, complete: true, end: 40 })
      expect(fields[1]).toMatchObject({ tooLong: true, text: '' })
      expect(fields[5]).toMatchObject({ tooLong: false, text: 'y' })
    }
    expect(scan(body(8), WANTED, { maxTextBytes: 8 }).fields[0]).toMatchObject({ text: 'xxxxxxxx', tooLong: false })
    expect(scan(body(4096)).fields[0]).toMatchObject({ text: 'x'.repeat(4096) })
    expect(scan(body(4097)).fields[0]).toMatchObject({ tooLong: true })
  })

  it.each(['', '"model":{', '"a":{'])('of keys, wherever they stand: {%s', before => {
    const body = (bytes: number) => Buffer.from(`{${before}"${'k'.repeat(bytes)}":1`)
    expect(scan(body(10), WANTED, { maxKeyBytes: 10 }).error).toMatchObject({ code: 'unexpected_end' })
    for (const chunks of everySplit(body(11)))
      expect(outcomeOf(new JsonScanner(compileScan(WANTED, { maxKeyBytes: 10 })), WANTED, chunks).error).toEqual({
        code: 'key_too_long',
        offset: 1 + before.length,
      })
  })

  it('must be positive whole numbers', () => {
    for (const value of [0, -1, 1.5, Number.NaN]) {
      expect(() => compileScan([], { maxDepth: value })).toThrow(RangeError)
      expect(() => compileScan([], { maxKeyBytes: value })).toThrow(RangeError)
      expect(() => compileScan([], { maxTextBytes: value })).toThrow(RangeError)
    }
  })
})

describe('states', () => {
  it.each([
    ['{"a":}', { code: 'unexpected_byte', offset: 5 }],
    ['{"a":1', { code: 'unexpected_end', offset: 6 }],
    ['{} x', { code: 'trailing_data', offset: 3 }],
    ['{"model": "\\x"}', { code: 'bad_string', offset: 10 }],
    ['{"mod\\el":1}', { code: 'bad_string', offset: 1 }],
    ['', { code: 'unexpected_end', offset: 0 }],
  ])('tell what is wrong with %j', (body, error) => {
    expect(scan(body).error).toEqual(error)
  })

  it('DONE comes with the last byte, and INVALID stays', () => {
    const scanner = new JsonScanner(compileScan([]))
    expect(scanner.feed(Buffer.from('{"a":[1,2]'))).toBe(ScanState.MORE)
    expect(scanner.feed(Buffer.from('}'))).toBe(ScanState.DONE)
    expect(scanner.feed(Buffer.from(''))).toBe(ScanState.DONE)
    expect(scanner.feed(Buffer.from(' \n'))).toBe(ScanState.DONE)
    expect(scanner.finish()).toBe(ScanState.DONE)
    expect(scanner.feed(Buffer.from('1'))).toBe(ScanState.INVALID)
    expect(scanner.feed(Buffer.from(' '))).toBe(ScanState.INVALID)
    expect(scanner.finish()).toBe(ScanState.INVALID)
    expect(scanner.error).toEqual({ code: 'trailing_data', offset: 13 })
  })

  it('a window of a larger chunk is all that is read', () => {
    const body = `{"x":"${'y'.repeat(9000)}","model":"m"}`
    for (const [before, after] of [
      ['', ''],
      ['"{', '"]}'],
      ['"'.repeat(6000), '"'.repeat(6000)],
      ['', ' '.repeat(9000)],
    ] as const) {
      const chunk = Buffer.from(before + body + after)
      const scanner = new JsonScanner(compileScan(WANTED))
      const middle = before.length + 5000
      expect(scanner.feed(chunk, before.length, middle)).toBe(ScanState.MORE)
      expect(scanner.feed(chunk, middle, before.length + body.length)).toBe(ScanState.DONE)
      expect([scanner.offset, scanner.text(0)]).toEqual([body.length, 'm'])
    }
  })

  it('what skipped strings hold is not checked, keys beside wanted ones are', () => {
    expect(scan('{"x":"\\x \u0001","y\\q":1}', [{ path: ['z', 'a'], kind: 'text' }]).error).toMatchObject({
      offset: 12,
    })
    expect(scan('{"o":{"x":"\\x \u0001","y\\q":1}}').state).toBe(ScanState.DONE)
  })
})
