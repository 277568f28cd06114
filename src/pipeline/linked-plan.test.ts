import { RE2JSSyntaxException } from 're2js'
import { describe, expect, it } from '@jest/globals'
import * as fc from 'fast-check'
import { GrpcStatus } from '../grpc/transport.ts'
import { UnknownScorerError } from '../inference/scheduling/scorers/registry.ts'
import {
  entry,
  model,
  Play,
  plan,
  pool,
  readReply,
  type Reply,
  type Request,
  rule,
  sendBody,
  target,
} from '../../test/support/pipeline-play.ts'

const A = '10.0.0.1:8000'
const B = '10.0.0.2:8000'
const toPool = (name: string) => [target(`to-${name}`, { pool: name })]
const alias = (to: string) => [{ model: 'alias', targets: [{ model: to, weight: 1 }] }]

describe('a plan update', () => {
  const before = plan([entry([rule('before', { targets: toPool('p') })])], [pool('p', [A])])
  const after = plan([entry([rule('after', { targets: toPool('p') })], { id: 'entry@2' })], [pool('p', [B])])

  it('lets an undecided request finish by the entry that it came with, on the endpoints that there are now', () => {
    const play = new Play(before)
    const envoy = play.open({ body: '' })
    play.linked.update(after)
    sendBody(envoy, '{"model":"a"}', true)
    expect(readReply(envoy)).toMatchObject({ to: 'to-p', record: { route: 'before' }, endpoints: B })
  })

  it('answers old entry ids and new ones, and ends streams of unknown ones with NOT_FOUND', () => {
    const play = new Play(before)
    expect(play.send({ body: '{}', entry: 'entry@2' }).grpcStatus).toBe(GrpcStatus.NOT_FOUND)
    play.linked.update(after)
    expect(play.send({ body: '{}', entry: 'entry@1' }).record['route']).toBe('before')
    expect(play.send({ body: '{}', entry: 'entry@2' }).record['route']).toBe('after')
    expect(play.send({ body: '{}', entry: '__proto__' }).grpcStatus).toBe(GrpcStatus.NOT_FOUND)
  })

  it('forgets entries after sixteen plans with other entries; changes of endpoints alone do not count', () => {
    const play = new Play(before)
    for (let i = 0; i < 15; i++) {
      play.linked.update(plan([{ ...after.entries[0]!, id: `other@${i}` }], after.pools))
      play.linked.update(plan([{ ...after.entries[0]!, id: `other@${i}` }], before.pools))
    }
    expect(play.linked.entry('entry@1')).toBeDefined()
    play.linked.update(after)
    expect(play.linked.entry('entry@1')).toBeUndefined()
    expect(play.linked.entry('other@0')).toBeDefined()
  })

  it('answers 503 for a pool that has gone', () => {
    const play = new Play(before)
    const envoy = play.open({ body: '' })
    play.linked.update(plan([], []))
    sendBody(envoy, '{"model":"a"}', true)
    expect(readReply(envoy)).toMatchObject({ to: 503, record: { reason: 'no_endpoints' } })
    expect(play.linked.pools.size).toBe(0)
  })

  it('keeps what is known of a pool that stays', () => {
    const play = new Play(before)
    const live = play.linked.pools.get('p')
    play.send({ body: '{}' })
    play.linked.update(plan(before.entries, [pool('p', [A, B])]))
    expect(play.linked.pools.get('p')).toBe(live)
    expect(live!.plan.endpoints).toHaveLength(2)
  })

  it('rewrites at once when a pool gets its first rewrite', () => {
    const play = new Play(before)
    play.linked.update(plan(before.entries, [pool('p', [A], { rewrites: alias('real') })]))
    const body = '{"messages":[1,2,3],"model":"alias"}'
    expect(play.send({ body, headers: { 'content-length': String(body.length) } })).toMatchObject({
      body: '{"messages":[1,2,3],"model":"real"}',
      set: { 'content-length': String(body.length - 1) },
      record: { model: 'alias', served_model: 'real' },
    })
  })

  it('rewrites nothing of a request whose chunks were not kept', () => {
    const play = new Play(before)
    const envoy = play.open({ body: '' })
    sendBody(envoy, '{"messages":[1,2,3],', false)
    play.linked.update(plan(before.entries, [pool('p', [A], { rewrites: alias('real') })]))
    sendBody(envoy, '"model":"alias"}', true)
    const reply = readReply(envoy)
    expect([reply.to, reply.body, reply.record['served_model']]).toEqual(['to-p', '', undefined])
  })

  it.each([
    [
      'an unknown scorer',
      pool('p', [B], { scheduling: { ...pool('', []).scheduling, scorers: [{ type: 'no', weight: 1 }] } }),
    ],
    [
      'a bad weight',
      pool('q', [B], {
        scheduling: { ...pool('', []).scheduling, scorers: [{ type: 'queue-scorer', weight: Number.NaN }] },
      }),
    ],
  ])('that fails changes nothing: %s', (_name, bad) => {
    const play = new Play(before)
    expect(() => play.linked.update(plan([], [pool('a', [B]), pool('p', [B]), bad]))).toThrow()
    expect(play.send({ body: '{}' })).toMatchObject({ endpoints: A })
    expect([...play.linked.pools.keys()]).toEqual(['p'])
  })

  it('that names a missing pool or no regular expression is refused', () => {
    const play = new Play(before)
    expect(() => play.linked.update(plan([entry([rule('r', { targets: toPool('gone') })])], []))).toThrow(
      'no pool gone',
    )
    expect(() => play.linked.update(plan([entry([rule('r', { model: model('(', 'regex') })])], []))).toThrow(
      RE2JSSyntaxException,
    )
    expect(
      () =>
        new Play(
          plan(
            [],
            [pool('p', [], { scheduling: { ...pool('', []).scheduling, scorers: [{ type: 'no', weight: 1 }] } })],
          ),
        ),
    ).toThrow(UnknownScorerError)
    expect(play.send({ body: '{}' }).to).toBe('to-p')
  })

  it('says which entry serves streams that name none', () => {
    const play = new Play({ ...before, defaultEntry: 'entry@1' })
    expect(play.send({ body: '{}', entry: '' }).to).toBe('to-p')
    play.linked.update(before)
    expect(play.send({ body: '{}', entry: '' }).grpcStatus).toBe(GrpcStatus.NOT_FOUND)
  })
})

/** Requests as different as they can be: each leaves something in the records that the next must not see. */
const REQUESTS: readonly Request[] = [
  { body: '{"model":"alias","messages":[]}' },
  { body: '{"messages":["x"],"model":"a"}', headers: { 'content-length': '30' }, chunk: 3 },
  { body: '{"messages":[]}' },
  { body: '{ }', headers: { 'content-length': '3' } },
  { body: '{"model":null}' },
  { body: '{"model":""}', subset: B },
  { body: '{"model":"a"}', subset: '10.9.9.9' },
  { body: '' },
  { body: '{"model":"a\\u0000"}' },
  { body: `{"x":"${'y'.repeat(3000)}","model":"alias"}`, chunk: 1000 },
  { body: `{"model":"${'m'.repeat(5000)}"}` },
  { body: 'x'.repeat(20_000) },
  { body: 'no json' },
  { method: 'GET' },
  { method: 'GET', path: '/v1/models' },
  { method: 'POST', mode: 'none', body: '{"model":"alias"}' },
  { headers: { 'content-type': 'audio/wav' }, body: '{"model":"alias"}' },
  {
    headers: { 'content-type': 'multipart/form-data; boundary=b' },
    body: '--b\r\ncontent-disposition: form-data; name="model"\r\n\r\nalias\r\n--b--',
  },
  { headers: { 'content-type': 'multipart/form-data; boundary=b' }, body: '--b--' },
  { headers: { 'content-type': 'multipart/form-data' }, body: '{"model":"alias"}' },
  { mode: 'duplex', body: '{"model":"alias","prompt":"p"}', chunk: 5 },
  { mode: 'duplex', body: '{"prompt":"p"}', chunk: 1 },
  { entry: 'whole@1', body: '{"model":"alias","model":"a"}' },
  { entry: 'whole@1', body: '{"model":"alias","prompt":null}', chunk: 2 },
  { entry: 'gateway@1', mode: 'duplex', body: '{"model":"alias"}' },
  { entry: 'gateway@1', mode: 'duplex', body: '[]' },
  { entry: 'gateway@1', mode: 'duplex', method: 'GET' },
  { entry: 'none@1', method: 'DELETE', path: '/nowhere' },
  { entry: 'none@1', body: '{"model":"alias"}' },
]

function everything(): Play {
  const rewrites = [...alias('a-longer-name'), { targets: [{ model: 'generic', weight: 1 }] }]
  const rules = [rule('r', { targets: toPool('p') })]
  return new Play(
    plan(
      [
        entry(rules, { listModels: true, prefixBytes: 4096, maxBodyBytes: 10_000 }),
        entry(rules, { id: 'whole@1', model: 'whole', retryBufferBytes: 10 }),
        entry(rules, { id: 'gateway@1', attach: 'gateway', body: 'full-duplex', followResponse: true }),
        entry([rule('only', { method: 'PUT', model: model('x') })], { id: 'none@1' }),
      ],
      [pool('p', [A, B], { rewrites, scheduling: { ...pool('', []).scheduling, scorers: [] } })],
    ),
  )
}

/** Which of two equal endpoints was picked is chance. */
function timeless(reply: Reply): unknown {
  return JSON.parse(JSON.stringify(reply).replaceAll(A, 'endpoint').replaceAll(B, 'endpoint'))
}

describe('pooled records', () => {
  const fresh = REQUESTS.map(request => timeless(everything().send(request)))

  it('are told apart by these requests', () => {
    expect(new Set(fresh.map(reply => JSON.stringify(reply))).size).toBeGreaterThan(15)
  })

  it('carry nothing from one request to the next', () => {
    const play = everything()
    const order = fc.array(fc.nat(REQUESTS.length - 1), { minLength: 1, maxLength: 30 })
    fc.assert(
      fc.property(order, indices => {
        for (const i of indices) expect(timeless(play.send(REQUESTS[i]!))).toEqual(fresh[i])
        expect([play.service.openExchanges, play.service.heldBytes]).toEqual([0, 0])
      }),
      { numRuns: 60 },
    )
  })

  it('carry nothing from a request that was broken off anywhere', () => {
    const play = everything()
    const cut = fc.tuple(fc.nat(REQUESTS.length - 1), fc.nat(40), fc.boolean(), fc.nat(REQUESTS.length - 1))
    fc.assert(
      fc.property(cut, ([broken, bytes, politely, next]) => {
        const request = REQUESTS[broken]!
        const envoy = play.open({ ...request, body: request.body ?? '' })
        const body = Buffer.from(request.body ?? '').subarray(0, bytes)
        if (body.length > 0 && envoy.stream.ended === undefined) sendBody(envoy, body, false)
        if (politely) envoy.halfCloses()
        envoy.resets()
        expect(timeless(play.send(REQUESTS[next]!))).toEqual(fresh[next])
        expect(play.service.heldBytes).toBe(0)
      }),
      { numRuns: 150 },
    )
  })
})
