import { describe, expect, it } from '@jest/globals'
import * as fc from 'fast-check'
import { PrefixHasher } from '../inference/prefix-hasher.ts'
import { BodyFacts } from './body-facts.ts'
import { BodyKind } from './body-kind.ts'
import type { ModelFact } from './plan.ts'

interface Found {
  readonly model: string | undefined
  readonly raw: string | undefined
  readonly code: string | undefined
  readonly hashes: readonly number[]
  /** Bytes taken until the facts were final. */
  readonly taken: number
}

const pooled = new BodyFacts(new PrefixHasher())

function read(
  body: Buffer,
  cuts: readonly number[],
  fact: ModelFact = 'first',
  prefixBytes = 0,
  facts = pooled,
): Found {
  facts.begin(BodyKind.JSON, fact, prefixBytes, 8, '')
  let taken = 0
  let final = false
  for (const until of [...cuts.filter(cut => cut <= body.length).sort((a, b) => a - b), body.length]) {
    if (final) break
    final = facts.feed(body, taken, until)
    taken = until
  }
  facts.end()
  const { model, problem, prompt } = facts
  return {
    model: model.name,
    raw: model.start < 0 ? undefined : body.toString('utf8', model.start, model.end),
    code: problem?.code,
    hashes: Array.from(prompt.hasher.low.subarray(0, prompt.hasher.count)),
    taken,
  }
}

/** Without `taken`, which depends on the split. */
function facts(found: Found): Omit<Found, 'taken'> {
  const { taken: _taken, ...rest } = found
  return rest
}

const value = fc.oneof(
  { weight: 3, arbitrary: fc.string({ unit: 'binary', maxLength: 20 }) },
  fc.constantFrom(null, true, false, 0, -1.5e300, [], ['model'], {}, { model: 'inner' }),
)
/** Objects with the keys that matter, in any order, some of them twice. */
const objects = fc
  .array(fc.tuple(fc.constantFrom('model', 'messages', 'prompt', 'input', 'stream', 'möbel'), value), { maxLength: 6 })
  .map(pairs => `{${pairs.map(([key, each]) => `${JSON.stringify(key)}: ${JSON.stringify(each)}`).join(',')}}`)

describe('the facts of a body', () => {
  it.each(['none', 'first', 'whole'] as const)(
    'do not depend on how it was split, nor on what was read before (%s)',
    fact => {
      fc.assert(
        fc.property(objects, fc.array(fc.nat(200), { maxLength: 8 }), (text, cuts) => {
          const body = Buffer.from(text)
          const fresh = new BodyFacts(new PrefixHasher())
          const whole = facts(read(body, [], fact, 32, fresh))
          expect(facts(read(body, cuts, fact, 32))).toEqual(whole)
          expect(facts(read(body, Array.from(body.keys()).slice(0, 200), fact, 32))).toEqual(whole)
        }),
        { numRuns: 80 },
      )
    },
  )

  it('are those of JSON.parse where the model stands once', () => {
    fc.assert(
      fc.property(fc.oneof(value, fc.constantFrom('x'.repeat(4096), 'x'.repeat(4097))), value, (model, prompt) => {
        const found = read(Buffer.from(JSON.stringify({ prompt, model, stream: true })), [])
        if (typeof model === 'string') {
          const bad =
            JSON.stringify(model).length > 4098 || [...Buffer.from(model)].some(byte => byte < 0x20 || byte === 0x7f)
          expect([found.model, found.code]).toEqual(
            bad ? [undefined, 'invalid_model'] : [model === '' ? undefined : model, undefined],
          )
        } else {
          const scalar = model !== null && typeof model !== 'object'
          expect(found.model).toBe(scalar ? JSON.stringify(model) : undefined)
        }
      }),
    )
  })

  it('are final early: a large body is not read to its end', () => {
    const body = Buffer.from(`{"model":"m","messages":"${'x'.repeat(100_000)}"}`)
    expect(read(body, [100]).taken).toBe(100)
    expect(read(body, [100, 5000, 9000], 'first', 4096).taken).toBe(5000)
    expect(read(body, [100, 5000], 'whole').taken).toBe(body.length)
    expect(read(Buffer.from(`{"messages":"${'x'.repeat(5000)}","model":"m"}`), [4500], 'none', 4096).taken).toBe(4500)
  })

  it('hash the first field that is a prompt, as far as wanted', () => {
    const hashes = (text: string) => read(Buffer.from(text), [], 'first', 32).hashes
    const prompt = hashes('{"prompt":"0123456789012345678901234567890123456789"}')
    expect(prompt).toHaveLength(4)
    expect(hashes('{"model":"m","prompt":"0123456789012345678901234567890xxx"}')).toEqual(prompt)
    expect(hashes('{"messages":null,"prompt":"0123456789012345678901234567890xxx","input":"other"}')).toEqual(prompt)
    expect(hashes('{"model":"m"}')).toEqual([])
  })

  it('find where a model may be put', () => {
    const at = (text: string) => {
      read(Buffer.from(text), [])
      return [pooled.model.start, pooled.model.objectStart, pooled.model.objectIsEmpty]
    }
    expect(at('  {"x":{}}')).toEqual([-1, 2, false])
    expect(at('{ \n}')).toEqual([-1, 0, true])
    expect(at('{"model":null}')).toEqual([9, -1, false])
    expect(at('[{}]')).toEqual([-1, -1, false])
    expect(at('{"model":{}}')).toEqual([-1, -1, false])
    expect(at('')).toEqual([-1, -1, false])
    pooled.clear()
    expect([pooled.model.start, pooled.model.objectStart, pooled.hasBody, pooled.model.name]).toEqual([
      -1,
      -1,
      false,
      undefined,
    ])
  })

  it('end a wrong body with its problem, and stay so', () => {
    pooled.begin(BodyKind.JSON, 'whole', 0, 8, '')
    expect(pooled.feed(Buffer.from('{]'), 0, 2)).toBe(true)
    expect(pooled.feed(Buffer.from('{"model":"m"}'), 0, 13)).toBe(true)
    pooled.end()
    expect([pooled.problem?.code, pooled.model.name]).toEqual(['invalid_json', undefined])
  })
})

it('a list of prompts is one stretch of text for prefixes, not a chain for each', () => {
  const hashes = (prompt: unknown) =>
    read(Buffer.from(JSON.stringify({ model: 'm', prompt })), [], 'whole', 1024).hashes
  const [one, other] = ['a'.repeat(64), 'b'.repeat(64)] as const
  const both = hashes([one, other])
  const alone = hashes([one])
  // The first one's blocks begin it; from there on the second one's go on, with none of those that it has alone.
  expect(both.slice(0, alone.length)).toEqual(alone)
  expect(both.length).toBe(2 * alone.length)
  expect(both.filter(hash => hashes([other]).includes(hash))).toEqual([])
  expect(both).not.toEqual(hashes([other, one]))
})
