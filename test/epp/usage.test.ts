import { describe, expect, it } from '@jest/globals'
import type { JsonObject } from '@bufbuild/protobuf'
import { BodyMode } from '../../src/extproc/modes.ts'
import { HERMETIC, PickerRig, pod } from './picker-rig.ts'

const PODS = [pod(0, 0), pod(0, 0)]
const REQUEST = '{"model":"m","prompt":"x"}'
const OK = { ':status': '200', 'content-type': 'application/json' }
const STREAM = { ':status': '200', 'content-type': 'text/event-stream' }
const reporter = (expression: string, more = '') => `${HERMETIC}
- name: cost
  type: request-attribute-reporter
  parameters:
    attributes:
    - key: { name: x-gateway-inference-request-cost }
      expression: ${expression}
      ${more}
`
const COST = reporter('usage.completion_tokens', 'condition: has(usage.completion_tokens)')
const TEN = '{"usage":{"prompt_tokens":7,"completion_tokens":10,"total_tokens":17}}'
const cost = (value: number) => ({ 'envoy.lb': { 'x-gateway-inference-request-cost': value } })

describe('H22: usage as dynamic metadata (epp.md §8.1, §3.11)', () => {
  it.each([
    ['JSON', OK, [TEN]],
    ['JSON that is cut', OK, [TEN.slice(0, 20), TEN.slice(20), '']],
    ['a stream', STREAM, ['data: {"choices":[]}\n\n', `data: ${TEN}\n\n`, 'data: [DONE]\n\n']],
    ['a stream cut inside a line', STREAM, [`dat`, `a: ${TEN.slice(0, 9)}`, `${TEN.slice(9)}\n\ndata: [DO`, 'NE]\n\n']],
    ['a stream that is cut off', STREAM, [`data:${TEN}`]],
  ])('%s', (_name, headers, chunks) => {
    for (const mode of [BodyMode.FULL_DUPLEX_STREAMED, BodyMode.STREAMED]) {
      const response = new PickerRig(PODS, COST).open({ body: REQUEST }, mode).respond(headers, chunks)
      expect(response.metadata).toEqual(cost(10))
      expect(response.pieces.join('')).toBe(chunks.join(''))
    }
    const { metadata, trailers } = new PickerRig(PODS, COST)
      .open({ body: REQUEST })
      .respond(headers, chunks, { trailers: true })
    expect([metadata, trailers]).toEqual([cost(10), true])
  })

  it('goes with a buffered body, and with one in which the model is put back', () => {
    const rig = new PickerRig(PODS, COST)
    const call = { headers: { 'x-llm-d-model-name-rewrite': 'target' }, body: REQUEST }
    const body = `{"model":"target",${TEN.slice(1)}`
    for (const mode of [BodyMode.BUFFERED, BodyMode.STREAMED, BodyMode.FULL_DUPLEX_STREAMED]) {
      const response = rig.open(call, mode).respond(OK, [body])
      expect(response.pieces).toEqual([body.replace('target', 'm')])
      expect(response.metadata).toEqual(cost(10))
    }
  })

  it.each<[string, string, string, JsonObject]>([
    ['a sum', reporter('usage.prompt_tokens + 2.0 * usage.completion_tokens'), TEN, cost(27)],
    [
      'nothing where the condition fails',
      reporter('usage.total_tokens', 'condition: usage.total_tokens > 99.0'),
      TEN,
      {},
    ],
    ['nothing without usage', COST, '{"choices":[]}', {}],
    ['nothing of what is no JSON', COST, '{malformed', {}],
    ['nothing where the expression fails', reporter('usage.prompt_tokens_details.cached_tokens'), TEN, {}],
  ])('tells %s', (_name, config, body, expected) => {
    expect(new PickerRig(PODS, config).open({ body: REQUEST }).respond(OK, [body]).metadata).toEqual(expected)
  })

  it('puts several attributes into one namespace', () => {
    const second = reporter('usage.prompt_tokens').replace('name: cost', 'name: more').replace('request-cost', 'prompt')
    const both = `${COST}${second.slice(second.indexOf('- name: more'))}`
    expect(new PickerRig(PODS, both).open({ body: REQUEST }).respond(OK, [TEN]).metadata).toEqual({
      'envoy.lb': { 'x-gateway-inference-request-cost': 10, 'x-gateway-inference-prompt': 7 },
    })
  })

  it('leaves what it cannot read: compressed bodies, other types, token counts', () => {
    const respond = (path: string, headers: Readonly<Record<string, string>>) =>
      new PickerRig(PODS, COST)
        .open({ path, body: '{"model":"m","messages":[{}],"prompt":"x"}' })
        .respond(headers, [TEN]).metadata
    expect(respond('/v1/completions', { ...OK, 'content-encoding': 'gzip' })).toEqual({})
    expect(respond('/v1/completions', { ':status': '200', 'content-type': 'text/html' })).toEqual({})
    expect(respond('/v1/messages/count_tokens', OK)).toEqual({})
  })
})

describe('tokens in flight (epp.md §3.6)', () => {
  const config = (more: string) => `${HERMETIC}- type: token-load-scorer\n- type: inflight-load-producer\n  ${more}\n`
  const prompt = { body: JSON.stringify({ model: 'm', prompt: 'x'.repeat(398) }) }
  const tokens = (rig: PickerRig) => {
    const { table } = rig.plan.pools.get('default/pool')!
    return [0, 1].reduce((sum, slot) => sum + table.counters.tokens(slot), 0)
  }

  it('those of the answer, where they are estimated, only when it ends', () => {
    const rig = new PickerRig(PODS, config('parameters: { addEstimatedOutputTokens: true, outputRatio: 0.5 }'))
    const session = rig.open(prompt)
    expect(tokens(rig)).toBe(150)
    session.startResponse(STREAM)
    session.piece('data: {}\n\n')
    expect(tokens(rig)).toBe(50)
    session.piece('', true)
    expect([tokens(rig), rig.inFlight]).toEqual([0, 0])
  })

  it('those of a prompt are given back when the first event of a stream comes', () => {
    for (const [headers, left] of [
      [STREAM, 0],
      [OK, 100],
    ] as const) {
      const rig = new PickerRig(PODS, config(''))
      const session = rig.open(prompt)
      session.startResponse(headers)
      expect([tokens(rig), rig.inFlight]).toEqual([100, 1])
      session.piece('data: {}\n\n')
      expect([tokens(rig), rig.inFlight]).toEqual([left, 1])
      session.piece('data: {}\n\n')
      session.piece('', true)
      expect([tokens(rig), rig.inFlight]).toEqual([0, 0])
    }
  })
})
