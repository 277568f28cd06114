import { describe, expect, it } from '@jest/globals'
import { scrape } from '../inference/testing.ts'
import { entry, model, Play, plan, pool, readReply, rule, sendBody, target } from '../../test/support/pipeline-play.ts'
import { PreparedAnswers } from './prepared-answers.ts'

const ENDPOINTS = ['10.0.0.1:8000', '10.0.0.2:8000', '10.0.0.3:8000']
const answer = () => ({ bytes: Buffer.from('a'), unretried: Buffer.from('b') })

describe('prepared answers', () => {
  it('are found by model, endpoints and reason', () => {
    const cache = new PreparedAnswers()
    const kept = new Map<string, ReturnType<typeof answer>>()
    const keys = [undefined, '', 'a', '__proto__'].flatMap(name =>
      ['', '1:1', '1:1,2:2'].flatMap(endpoints => ['x', 'y'].map(reason => [name, endpoints, reason] as const)),
    )
    for (const key of keys) {
      expect(cache.find(...key)).toBeUndefined()
      kept.set(JSON.stringify([String(key[0]), ...key]), answer())
      cache.keep(...key, kept.get(JSON.stringify([String(key[0]), ...key]))!)
    }
    for (const key of keys) expect(cache.find(...key)).toBe(kept.get(JSON.stringify([String(key[0]), ...key])))
  })

  it('are bounded over all targets, and very long names are not kept', () => {
    const caches = [new PreparedAnswers(), new PreparedAnswers()]
    const found = () =>
      caches.reduce((sum, cache, i) => {
        let known = 0
        for (let n = 0; n < 20_000; n++) if (cache.find(`${i}-${n}`, '', '') !== undefined) known++
        return sum + known
      }, 0)
    for (let n = 0; n < 20_000; n++) caches[n % 2]!.keep(`${n % 2}-${n}`, '', '', answer())
    expect(found()).toBeGreaterThan(0)
    expect(found()).toBeLessThanOrEqual(4096)
    expect(caches[1]!.find('1-19999', '', '')).toBeDefined()
    caches[0]!.keep('n'.repeat(257), '', '', answer())
    expect(caches[0]!.find('n'.repeat(257), '', '')).toBeUndefined()
  })
})

describe('a request like an earlier one', () => {
  const fleet = plan(
    [
      entry(
        [
          rule('r-a', { model: model('a'), targets: [target('to-p', { pool: 'p', unretriedId: 'to-p-once' })] }),
          rule('r-b', { model: model('b'), targets: [target('to-p', { pool: 'p', unretriedId: 'to-p-once' })] }),
          rule('r', { targets: [target('plain')] }),
        ],
        { retryBufferBytes: 1000 },
      ),
    ],
    [pool('p', ENDPOINTS)],
  )

  it('gets an answer of its own facts', () => {
    const play = new Play(fleet)
    for (let round = 0; round < 20; round++) {
      for (const [name, route] of [
        ['a', 'r-a'],
        ['b', 'r-b'],
      ] as const) {
        const reply = play.send({ body: JSON.stringify({ model: name }) })
        const { endpoint } = reply.record
        expect(reply).toMatchObject({
          to: 'to-p',
          set: { 'x-gateway-model-name': name, 'x-gateway-base-model-name': '' },
          record: { model: name, route, pool: 'p' },
          endpoints: endpoint,
        })
        expect(ENDPOINTS).toContain(endpoint)
      }
      expect(play.send({ body: '{"model":"c"}' })).toMatchObject({
        to: 'plain',
        record: { model: 'c', route: 'r', reason: 'route' },
        endpoints: undefined,
      })
      expect(play.send({ method: 'GET' }).record).toEqual({ route: 'r', reason: 'route' })
    }
  })

  it('gets the endpoint and the reason of its own pick', () => {
    const play = new Play(fleet)
    const table = play.linked.pools.get('p')!
    for (let round = 0; round < 9; round++) {
      const idle = round % 3
      for (let slot = 0; slot < 3; slot++) {
        scrape(table, slot, { waiting: slot === idle ? 0 : 5, running: slot === idle ? 0 : 3 }, 1000)
      }
      const { record, endpoints } = play.send({ body: '{"model":"a"}' })
      expect([record['endpoint'], endpoints, record['reason']]).toEqual([
        ENDPOINTS[idle],
        ENDPOINTS[idle],
        'queue-scorer',
      ])
    }
  })

  it('goes to the target without retries only when its own body goes on', () => {
    const play = new Play(fleet)
    for (let round = 0; round < 3; round++) {
      expect(play.send({ body: '{"model":"a"}' }).to).toBe('to-p')
      const slow = play.open({ body: '', headers: { 'content-length': '5000' } })
      sendBody(slow, `{"model":"a","x":"${'y'.repeat(1000)}`, false)
      expect(readReply(slow).to).toBe('to-p-once')
      slow.resets()
    }
  })

  it('gets one with its own rewrite', () => {
    const rewrites = [{ model: 'a', targets: [{ model: 'a-2', weight: 1 }] }]
    const play = new Play(
      plan([entry([rule('r', { targets: [target('t', { pool: 'p' })] })])], [pool('p', ENDPOINTS, { rewrites })]),
    )
    for (let round = 0; round < 3; round++) {
      expect(play.send({ body: '{"model":"b"}' })).toMatchObject({ body: '{"model":"b"}', record: { model: 'b' } })
      const reply = play.send({ body: '{"model":"a"}' })
      expect([reply.body, reply.record['model'], reply.record['served_model']]).toEqual(['{"model":"a-2"}', 'a', 'a-2'])
    }
  })
})
