import { describe, expect, it } from '@jest/globals'
import * as fc from 'fast-check'
import { entry, Play, plan, pool, rule, target } from '../../test/support/pipeline-play.ts'
import { PrefixHasher } from '../inference/prefix-hasher.ts'
import { OUTPUT_CAP_FIELDS, type OutputCapField } from '../llm/output-caps.ts'
import { RequestApis } from '../llm/request-apis.ts'
import { BodyFacts } from './body-facts.ts'
import { BodyKind } from './body-kind.ts'

const apis = new RequestApis(['openai-parser', 'anthropic-parser', 'vllmhttp-parser', 'sglanghttp-parser'])
const fieldsOf = (path: string) => apis.find(path)!.outputCap
const CHAT = fieldsOf('/v1/chat/completions')

const pooled = new BodyFacts(new PrefixHasher())
let taken = 0

function read(text: string, fields: readonly OutputCapField[] | undefined, pieces: readonly string[] = [text]) {
  pooled.capFields = fields
  pooled.begin(BodyKind.JSON, 'first', 16, 8, '')
  taken = 0
  for (const piece of pieces) {
    const bytes = Buffer.from(piece)
    taken += bytes.length
    if (pooled.feed(bytes, 0, bytes.length)) break
  }
  pooled.end()
  expect(pooled.problem).toBeUndefined()
  const { outputCap } = pooled
  pooled.clear()
  expect(pooled.outputCap).toBeUndefined()
  return outputCap
}

/** Whole, byte by byte, and with the prompt before or behind. */
function cap(fields: string, names: readonly OutputCapField[] | undefined): number | undefined {
  const prompt = '"prompt":"twenty bytes at least"'
  const found = [`{"model":"m",${prompt},${fields}}`, `{${fields},${prompt},"model":"m"}`].flatMap(body => [
    read(body, names),
    read(body, names, body.split('')),
  ])
  expect(new Set(found).size).toBe(1)
  return found[0]
}

describe('the cap of the answer (epp.md §8.3)', () => {
  it.each([
    ['"max_tokens":32', 32],
    ['"max_completion_tokens":32', 32],
    ['"max_tokens":100,"max_completion_tokens":7', 7],
    ['"max_completion_tokens":7,"max_tokens":100', 7],
    ['"max_tokens":0', 0],
    ['"max_completion_tokens":0,"max_tokens":100', 0],
    ['"max_tokens":-0', -0],
    ['"max_tokens":-1', undefined],
    // What is none gives way to the next field.
    ['"max_completion_tokens":-5,"max_tokens":100', 100],
    ['"max_completion_tokens":null,"max_tokens":100', 100],
    ['"max_completion_tokens":2.5,"max_tokens":100', 100],
    ['"max_completion_tokens":"7","max_tokens":100', 100],
    ['"max_completion_tokens":[7],"max_tokens":{"max_tokens":7}', undefined],
    ['"max_tokens":32.0', 32],
    ['"max_tokens":1e2', 100],
    ['"max_tokens":0.5', undefined],
    ['"max_tokens":"32"', undefined],
    ['"max_tokens":true', undefined],
    ['"max_tokens":1e999', undefined],
    ['"max_tokens":9007199254740993', 9007199254740992],
    ['"m\\u0061x_tokens":32', 32],
    ['"Max_Tokens":32', undefined],
    ['"max_output_tokens":32', undefined],
    ['"options":{"max_tokens":32},"list":[{"max_tokens":32}]', undefined],
    // Which of two counts is the engine's choice: neither does.
    ['"max_tokens":1,"max_tokens":100000', undefined],
    ['"max_tokens":100000,"max_tokens":1', undefined],
    ['"max_tokens":5,"max_tokens":5', undefined],
    ['"max_tokens":1,"max_tokens":null', undefined],
    ['"max_tokens":1,"m\\u0061x_tokens":2', undefined],
    ['"max_completion_tokens":1,"max_completion_tokens":2,"max_tokens":3', undefined],
    ['"max_completion_tokens":1,"max_tokens":2,"max_tokens":3', 1],
  ])('of chat completions, %s: %s', (fields, expected) => {
    expect(cap(fields, CHAT)).toBe(expected)
  })

  it('is no number that is longer than a page', () => {
    expect(cap(`"max_completion_tokens":1${'0'.repeat(5000)},"max_tokens":100`, CHAT)).toBe(100)
  })

  it('stands where the API has it', () => {
    const all = `"max_completion_tokens":1,"max_tokens":2,"max_output_tokens":3,"sampling_params":{"max_tokens":4,"max_new_tokens":5}`
    const of = (path: string) => cap(all, fieldsOf(path))
    expect(of('/v1/chat/completions')).toBe(1)
    expect(of('/v1/chat/completions/render')).toBe(1)
    expect(of('/v1/completions')).toBe(2)
    expect(of('/v1/messages')).toBe(2)
    expect(of('/v1/messages/count_tokens')).toBeUndefined()
    expect(of('/v1/responses')).toBe(3)
    expect(of('/inference/v1/generate')).toBe(4)
    expect(of('/generate')).toBe(5)
    expect(of('/v1/embeddings')).toBeUndefined()
    expect(of('/v1/conversations')).toBeUndefined()
    expect(of('/v1/images/generations')).toBeUndefined()
    expect(cap(all, OUTPUT_CAP_FIELDS)).toBe(1)
    expect(cap('"sampling_params":[{"max_tokens":4}]', OUTPUT_CAP_FIELDS)).toBeUndefined()
    expect(cap('"sampling_params":{"max_new_tokens":5}', OUTPUT_CAP_FIELDS)).toBe(5)
    const twice = '"sampling_params":{"max_tokens":1},"sampling_params":{"max_tokens":9}'
    expect(cap(twice, fieldsOf('/inference/v1/generate'))).toBeUndefined()
  })

  it('does not depend on how the body is split', () => {
    const pair = fc.tuple(
      fc.constantFrom('max_tokens', 'max_completion_tokens', 'model', 'prompt', 'stream'),
      fc.constantFrom('0', '12', '-3', '4.5', '"7"', 'null', '{}', '"a prompt of some length"'),
    )
    fc.assert(
      fc.property(fc.array(pair, { maxLength: 6 }), fc.array(fc.nat(120), { maxLength: 6 }), (pairs, cuts) => {
        const text = `{${pairs.map(([key, value]) => `"${key}":${value}`).join(',')}}`
        const at = [0, ...cuts.filter(cut => cut <= text.length).sort((a, b) => a - b), text.length]
        const pieces = at.slice(1).map((end, i) => text.slice(at[i], end))
        expect(read(text, CHAT, pieces)).toBe(read(text, CHAT))
      }),
    )
  })

  it('is read for behind a long prompt, up to 1 MiB of the body, and no further than it must', () => {
    const body = (bytes: number) => ['{"model":"m","prompt":"', ...Array<string>(bytes / 1000).fill('x'.repeat(1000))]
    const end = '","max_tokens":5}'
    expect(read('', CHAT, [...body(900_000), end])).toBe(5)
    expect(read('', CHAT, [...body(1_200_000), end])).toBeUndefined()
    expect(taken).toBeGreaterThanOrEqual(1024 * 1024)
    expect(taken).toBeLessThan(1024 * 1024 + 1000)
    // Nobody asked; it may come once more.
    const early = ['{"model":"m","max_tokens":5,"prompt":"', ...body(100_000).slice(1), end]
    expect([read('', undefined, early), taken]).toEqual([undefined, 1038])
    expect([read('', fieldsOf('/v1/embeddings'), early), taken]).toEqual([undefined, 1038])
    const once = [...early.slice(0, -1), '"}']
    const behind = early.reduce((sum, piece) => sum + piece.length, 0)
    expect([read('', fieldsOf('/v1/completions'), once), taken]).toEqual([5, behind - end.length + 2])
    expect([read('', fieldsOf('/v1/completions'), early), taken]).toEqual([undefined, behind])
    const thrice = ['{"max_completion_tokens":1,"max_completion_tokens":2,"model":"m","prompt":"', ...early.slice(1)]
    expect([read('', CHAT, thrice), taken]).toEqual([undefined, thrice[0]!.length + 1000])
  })
})

describe('on our own fleet, where nobody says which API a path is', () => {
  const producer = {
    name: 'load',
    type: 'inflight-load-producer',
    parameters: { addEstimatedOutputTokens: true, outputRatio: 2 },
  }
  const counted = pool('p', ['10.0.0.1:8000'], {
    scheduling: {
      scorers: [{ type: 'token-load-scorer', weight: 1, parameters: {} }],
      prefixBlockBytes: 64,
      prefixBlocksPerEndpoint: 64,
      maxQueue: 0,
      maxEndpoints: 1,
      producers: [producer],
    },
  })
  const tokens = (fields: string, wanted: boolean, chunk: number) => {
    const rules = [rule('r', { targets: [target('to-p', { pool: 'p', cluster: 'pool/p' })] })]
    const facts = { prefixBytes: 64, ...(wanted ? { outputCap: true as const } : {}) }
    const play = new Play(plan([entry(rules, facts)], [counted]))
    const body = `{"model":"m","prompt":"${'x'.repeat(398)}","stop":"${'y'.repeat(100_000)}",${fields}}`
    const reply = play.send({ path: '/any', body, chunk, headers: { 'content-length': String(body.length) } })
    expect(reply.body).toBe(body)
    return play.linked.pools.get('p')!.table.counters.tokens(0)
  }

  it.each([
    ['"max_tokens":7', 7],
    ['"max_tokens":7,"max_completion_tokens":3', 3],
    ['"max_output_tokens":0', 0],
    ['"sampling_params":{"max_new_tokens":9}', 9],
    ['"max_tokens":-7', 200],
  ])('%s counts as %d, and only where it is wanted', (fields, expected) => {
    for (const chunk of [7, 5000]) expect(tokens(fields, true, chunk)).toBe(100 + expected)
    expect(tokens(fields, false, 1000)).toBe(100 + 200)
  })
})
