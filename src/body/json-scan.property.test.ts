import { describe, expect, it } from '@jest/globals'
import * as fc from 'fast-check'
import { FieldType } from './json-fields.ts'
import { compileScan } from './json-program.ts'
import { JsonScanner, ScanState } from './json-scan.ts'
import { type Outcome, outcomeOf, scan, WANTED } from './json-scan.testing.ts'
import { cutAt, cutPositions, mutate, random } from './testing.ts'

// Properties. The documents are sources, so that duplicate keys, escapes and white space occur.

const space = fc.constantFrom('', '', '', ' ', '\n', '\t\r ')
const number = fc.oneof(
  fc.double({ noNaN: true, noDefaultInfinity: true }).map(value => JSON.stringify(value)),
  fc.constantFrom('0', '-0', '10', '1E+2', '0.5e-7'),
)
const quoted = fc
  .tuple(fc.oneof(fc.string({ unit: 'binary' }), fc.string(), fc.constant('x'.repeat(70))), fc.boolean())
  .map(([text, escape]) => (escape ? escaped(text, 3) : JSON.stringify(text)))
const key = fc
  .tuple(fc.constantFrom('model', 'a', 'b', 'messages', 'é', '', 'mode', 'models', 'x'), fc.nat(3))
  .map(([text, every]) => (every === 0 ? JSON.stringify(text) : escaped(text, every)))
const document = fc.letrec<{ value: string }>(tie => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.oneof(quoted, number, fc.constantFrom('true', 'false', 'null')),
    list('[', ']', tie('value')),
    list('{', '}', member(tie('value'))),
    list('{', '}', member(tie('value'))),
  ),
})).value
const objectDocument = list('{', '}', member(document)).map(text => Buffer.from(text))

function list(open: string, close: string, element: fc.Arbitrary<string>): fc.Arbitrary<string> {
  return fc
    .tuple(space, fc.array(element, { maxLength: 5 }), space)
    .map(([a, all, b]) => open + a + all.join(`${b},${a}`) + b + close)
}

function member(value: fc.Arbitrary<string>): fc.Arbitrary<string> {
  return fc.tuple(key, space, space, value).map(([name, a, b, text]) => `${name}${a}:${b}${text}`)
}

/** A JSON string in which every n-th UTF-16 unit is written as an escape. */
function escaped(text: string, every: number): string {
  const unit = (i: number) => {
    const code = text.charCodeAt(i)
    const alone = code >= 0xd800 && code < 0xe000
    return i % every === 0 || alone ? `\\u${code.toString(16).padStart(4, '0')}` : JSON.stringify(text[i]).slice(1, -1)
  }
  return `"${Array.from({ length: text.length }, (_, i) => unit(i)).join('')}"`
}

interface Occurrence {
  readonly path: string
  readonly start: number
  readonly end: number
}

/** Every value under a key path, by recursion over the tokens of a valid document. Offsets are bytes. */
function occurrences(bytes: Buffer): Occurrence[] {
  const source = bytes.toString('latin1')
  const tokens = [...source.matchAll(/"(?:[^"\\]|\\[^])*"|[{}[\],:]|[^\s{}[\],:"]+/g)]
  const found: Occurrence[] = []
  let at = 0
  const value = (path: readonly string[] | undefined): void => {
    const slot = path === undefined ? -1 : found.push({ path: JSON.stringify(path), start: 0, end: 0 }) - 1
    const start = tokens[at]!.index
    const open = tokens[at++]![0]
    if (open === '[' || open === '{') {
      const close = open === '[' ? ']' : '}'
      while (tokens[at]![0] !== close) {
        let inner: readonly string[] | undefined
        if (open === '{') {
          const name = JSON.parse(Buffer.from(tokens[at]![0], 'latin1').toString()) as string
          inner = path && [...path, name]
          at += 2
        }
        value(inner)
        if (tokens[at]![0] === ',') at++
      }
      at++
    }
    const last = tokens[at - 1]!
    if (path !== undefined) found[slot] = { path: JSON.stringify(path), start, end: last.index + last[0].length }
  }
  value([])
  return found
}

function typeOf(raw: string): FieldType {
  const types: Record<string, FieldType> = {
    '"': FieldType.STRING,
    '{': FieldType.OBJECT,
    '[': FieldType.ARRAY,
    t: FieldType.TRUE,
    f: FieldType.FALSE,
    n: FieldType.NULL,
  }
  return types[raw[0]!] ?? FieldType.NUMBER
}

function expectFields(body: Buffer, outcome: Outcome): void {
  const all = occurrences(body)
  WANTED.forEach(({ path, kind }, i) => {
    const mine = all.filter(occurrence => occurrence.path === JSON.stringify(path))
    const repeated = path.some(
      (_, depth) => all.filter(({ path: p }) => p === JSON.stringify(path.slice(0, depth + 1))).length > 1,
    )
    const first = mine[0]
    if (first === undefined) {
      expect(outcome.fields[i]).toMatchObject({ type: FieldType.ABSENT, count: 0, start: -1, end: -1, text: '' })
      return
    }
    const raw = body.subarray(first.start, first.end).toString()
    const type = typeOf(raw)
    const scalar = type !== FieldType.OBJECT && type !== FieldType.ARRAY
    expect(outcome.fields[i]).toEqual({
      type,
      start: first.start,
      end: first.end,
      complete: true,
      count: mine.length,
      repeated,
      tooLong: false,
      text: kind === 'text' && scalar ? (type === FieldType.STRING ? (JSON.parse(raw) as string) : raw) : '',
    })
    if (kind === 'stream') expect(outcome.streamed[i]).toBe(body.toString('latin1', first.start, first.end))
  })
}

describe('properties', () => {
  const program = compileScan(WANTED)

  it('any document in any chunks: what a whole-text reference finds', () => {
    const reused = new JsonScanner(program)
    fc.assert(
      fc.property(objectDocument, cutPositions, (body, cuts) => {
        expect(() => JSON.parse(body.toString()) as unknown).not.toThrow()
        reused.reset()
        const outcome = outcomeOf(reused, WANTED, cutAt(body, cuts))
        expect(outcome).toMatchObject({ state: ScanState.DONE, error: undefined, offset: body.length })
        expectFields(body, outcome)
      }),
      { numRuns: 400 },
    )
  })

  it('any bytes in any chunks: the same as in one', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom(...Array.from('{}[]:,"\\ae0.-n\u0001é ')) }),
        cutPositions,
        (text, cuts) => {
          const body = Buffer.from(text)
          expect(outcomeOf(new JsonScanner(program), WANTED, cutAt(body, cuts))).toEqual(scan(body))
          expectVerdict(body, scan(body))
        },
      ),
      { numRuns: 400 },
    )
  })

  it('mutated documents: valid exactly when JSON.parse says so, skipped strings aside', () => {
    const documents = fc.sample(objectDocument, { numRuns: 150, seed: 3 })
    const pick = random(20_261)
    let valid = 0
    for (const body of documents)
      for (let i = 0; i < 20; i++) {
        const mutated = mutate(body, '{}[]:,"\\u0-+.eEtrnfalsmodel \n\u0000\u00ff', pick)
        const outcome = scan(mutated)
        if (expectVerdict(mutated, outcome)) valid++
        const cuts = [pick(mutated.length + 1), pick(mutated.length + 1)]
        expect(outcomeOf(new JsonScanner(program), WANTED, cutAt(mutated, cuts))).toEqual(outcome)
      }
    // The mutations must neither break everything nor nothing.
    expect(valid).toBeGreaterThan(100)
    expect(valid).toBeLessThan(2900)
  })
})

/** Compares with JSON.parse, and where that is stricter by design with JSON.parse of the text without its strings. */
function expectVerdict(body: Buffer, outcome: Outcome): boolean {
  const withoutStrings = body.toString('latin1').replace(/"(?:[^"\\]|\\[^])*"/g, '""')
  const strict = parses(body.toString())
  if (strict) expect(outcome.state).toBe(ScanState.DONE)
  if (outcome.state === ScanState.DONE) expect(parses(withoutStrings)).toBe(true)
  else if ((outcome.error as { code: string }).code === 'bad_string') expect(strict).toBe(false)
  else expect(parses(withoutStrings)).toBe(false)
  if (strict) expectFields(body, outcome)
  return strict
}

function parses(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}
