import { describe, expect, it } from '@jest/globals'
import { entry, Play, plan, pool, rule, sendBody, target } from '../../test/support/pipeline-play.ts'
import type { EndpointPlan, SchedulingPlan } from '../inference/pool-plan.ts'
import { poolPlan, scrape } from '../inference/testing.ts'
import type { EntryPlan } from './plan.ts'

const plugin = (type: string, parameters = {}) => ({ type, parameters })
const profile = (name: string) => ({ name, scorers: [], filters: [plugin(`${name}-filter`)], maxEndpoints: 2 })
const { name: profileName, ...decode } = profile('decode')
const SCHEDULING: SchedulingPlan = {
  ...poolPlan([]).scheduling,
  ...decode,
  profileName,
  profiles: [profile('prefill'), profile('encode')],
  handler: {
    ...plugin('disagg-profile-handler', { deciders: { prefill: 'always', encode: 'media' } }),
    deciders: { always: plugin('always-disagg-pd-decider'), media: plugin('always-disagg-multimodal-decider') },
  },
}
const endpoint = (address: string, role: string): EndpointPlan => ({ address, labels: { 'llm-d.ai/role': role } })
const PAIR = [endpoint('10.0.0.1:8000', 'decode'), endpoint('10.0.0.2:8000', 'prefill')]
const IMAGE = '{"model":"a","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}]}'
const FORGED = { 'x-prefiller-host-port': '6.6.6.6:6', 'x-encoder-hosts-ports': '6.6.6.6:7' }

function play(endpoints: readonly EndpointPlan[], changes: Partial<EntryPlan> = {}, scheduling = SCHEDULING): Play {
  const rules = [rule('r', { targets: [target('t', { pool: 'p' })] })]
  const entries = [
    entry(rules, { attach: 'gateway', followResponse: true, body: 'full-duplex', media: true, ...changes }),
  ]
  return new Play(plan(entries, [pool('p', [], { endpoints, scheduling })]), 'response')
}

describe('a gateway that is not ours', () => {
  it('sets who prefills and encodes; what a client says of it goes', () => {
    const split = play([...PAIR, endpoint('10.0.0.3:8000', 'encode'), endpoint('[fd00::4]:8000', 'encode')])
    const image = split.send({
      mode: 'duplex',
      body: IMAGE,
      headers: { ...FORGED, 'x-data-parallel-host-port': '6:6' },
    })
    expect(image.set['x-prefiller-host-port']).toBe('10.0.0.2:8000')
    expect(image.set['x-encoder-hosts-ports']!.split(',').toSorted()).toEqual(['10.0.0.3:8000', '[fd00::4]:8000'])
    expect(image.removed).toContain('x-data-parallel-host-port')
    expect(image.removed).not.toContain('x-prefiller-host-port')
    const text = split.send({ mode: 'duplex', body: IMAGE.replaceAll('image', 'other'), headers: FORGED })
    expect(text.set).not.toHaveProperty('x-encoder-hosts-ports')
    expect(text.removed).toContain('x-encoder-hosts-ports')
  })

  it.each([1, 7, 1000])('an image is found in chunks of %d bytes', chunk => {
    const split = play([...PAIR, endpoint('10.0.0.3:8000', 'encode')])
    expect(split.send({ mode: 'duplex', body: IMAGE, chunk }).set['x-encoder-hosts-ports']).toBe('10.0.0.3:8000')
  })

  it('answers are not mixed up: each request gets its own', () => {
    const split = play([...PAIR, endpoint('10.0.0.3:8000', 'prefill')])
    const told = new Set<string>()
    for (let i = 0; i < 40; i++) {
      const reply = split.send({
        mode: 'duplex',
        body: '{"model":"a","messages":[]}'.replace('[]', '[{"role":"user"}]'),
      })
      told.add(reply.set['x-prefiller-host-port']!)
    }
    expect([...told].toSorted()).toEqual(['10.0.0.2:8000', '10.0.0.3:8000'])
  })

  it('the count of who prefills falls when the response begins, that of who decodes when it ends', () => {
    const split = play(PAIR)
    const envoy = split.open({ mode: 'duplex', body: '' })
    sendBody(envoy, '{"model":"a","messages":[{}]}', true)
    const counts = () =>
      split.linked.pools
        .get('p')!
        .snapshot()
        .map(({ inFlight }) => inFlight)
    expect(counts()).toEqual([1, 1])
    envoy.sends({ request: { case: 'responseHeaders', value: { headers: { headers: [] }, endOfStream: false } } })
    expect(counts()).toEqual([1, 0])
    envoy.sends({ request: { case: 'responseBody', value: { endOfStream: true } } })
    envoy.resets()
    expect(counts()).toEqual([0, 0])
  })

  it('without a response both fall with the first scrape that sees the request', () => {
    const split = play(PAIR)
    const envoy = split.open({ mode: 'duplex', body: '' })
    sendBody(envoy, '{"model":"a","messages":[{}]}', true)
    envoy.resets()
    expect(split.inFlight('p')).toBe(2)
    const found = split.linked.pools.get('p')!
    for (const slot of [0, 1]) scrape(found, slot, { running: 1 }, 1000)
    expect(split.inFlight('p')).toBe(0)
  })
})

it('a profile that there is not is 429', () => {
  const handler = { ...plugin('header-profile-handler', { headerName: 'EPP-Profile' }), deciders: {} }
  const split = play(PAIR, {}, { ...SCHEDULING, handler })
  const body = '{"model":"a","messages":[{}]}'
  const reply = split.send({ mode: 'duplex', body, headers: { 'epp-profile': 'nonsense' } })
  expect(reply).toMatchObject({ to: 429, error: { code: 'unknown_profile' } })
  expect(split.send({ mode: 'duplex', body, headers: { 'epp-profile': 'prefill' } }).endpoints).toBe('10.0.0.2:8000')
})

it('the picked rank of a data-parallel replica is told, and recorded', () => {
  const handler = { ...plugin('data-parallel-profile-handler', { primaryPort: 8000 }), deciders: {} }
  const scheduling: SchedulingPlan = { ...poolPlan([]).scheduling, handler }
  const ranks = play([endpoint('10.0.0.1:8003', 'both')], {}, scheduling)
  const reply = ranks.send({ mode: 'duplex', body: '{"model":"a","messages":[{}]}' })
  expect(reply.endpoints).toBe('10.0.0.1:8000')
  expect(reply.set['x-data-parallel-host-port']).toBe('10.0.0.1:8003')
  const fleet = play([endpoint('10.0.0.1:8003', 'both')], { attach: 'fleet', followResponse: false }, scheduling)
  expect(fleet.send({ body: '{"model":"a","messages":[{}]}' })).toMatchObject({
    endpoints: '10.0.0.1:8000',
    record: { endpoint: '10.0.0.1:8003' },
    set: { 'x-data-parallel-host-port': '10.0.0.1:8003' },
  })
})
