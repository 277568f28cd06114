import { describe, expect, it } from '@jest/globals'
import { GrpcStatus } from '../grpc/transport.ts'
import { scrape } from '../inference/testing.ts'
import { entry, model, Play, plan, pool, readReply, rule, sendBody, target } from '../../test/support/pipeline-play.ts'

const A = '10.0.0.1:8000'
const B = '10.0.0.2:8000'

const toPool = (name: string) => [target(`to-${name}`, { pool: name, cluster: `pool/${name}` })]

/** Two models to two pools, and nothing else. */
const TWO = plan(
  [
    entry([
      rule('r-a', { model: model('a'), targets: toPool('pa') }),
      rule('r-b', { model: model('b'), targets: toPool('pb') }),
    ]),
  ],
  [pool('pa', [A]), pool('pb', [B])],
)

describe('routing by the model in the body', () => {
  it('names target, model, endpoint and why', () => {
    expect(new Play(TWO).send({ body: '{"model":"b","messages":[]}' })).toEqual({
      to: 'to-pb',
      set: { 'x-signalbox-target': 'to-pb', 'x-gateway-model-name': 'b', 'x-gateway-base-model-name': '' },
      removed: [],
      record: { model: 'b', route: 'r-b', pool: 'pb', endpoint: B, reason: 'only-endpoint' },
      endpoints: B,
      body: '{"model":"b","messages":[]}',
      error: undefined,
      grpcStatus: GrpcStatus.OK,
    })
  })

  it.each([
    ['an unknown model', '{"model":"c"}', 404, 'model_not_found', 'c'],
    ['another case', '{"model":"A"}', 404, 'model_not_found', 'A'],
    ['a number', '{"model":1.50}', 404, 'model_not_found', '1.50'],
    ['a boolean', '{"model":true}', 404, 'model_not_found', 'true'],
    ['an object', '{"model":{"a":"a"}}', 400, 'missing_model', undefined],
    ['a list', '{"model":["a"]}', 400, 'missing_model', undefined],
    ['null', '{"model":null}', 400, 'missing_model', undefined],
    ['an empty name', '{"model":""}', 400, 'missing_model', undefined],
    ['none', '{"messages":[]}', 400, 'missing_model', undefined],
    ['an empty body', '', 400, 'missing_model', undefined],
    ['a list as the body', '["model","a"]', 400, 'missing_model', undefined],
    ['a string as the body', '"a"', 400, 'missing_model', undefined],
    ['a model further down', '{"x":{"model":"a"}}', 400, 'missing_model', undefined],
    ['no JSON', 'model=a', 400, 'invalid_json', undefined],
    ['an unfinished body', '{"model":"a', 400, 'invalid_json', undefined],
    ['a line break in the name', '{"model":"a\\nx: y"}', 400, 'invalid_model', undefined],
    ['half a character in the name', '{"model":"a\\ud83d"}', 400, 'invalid_model', undefined],
    ['a name that is no UTF-8', Buffer.from('{"model":"a\xff"}', 'latin1'), 400, 'invalid_json', undefined],
    ['a name of 4097 bytes', `{"model":"${'a'.repeat(4097)}"}`, 400, 'invalid_model', undefined],
    ['a name of 4096 bytes', `{"model":"${'a'.repeat(4096)}"}`, 404, 'model_not_found', `${'a'.repeat(256)}…`],
  ])('refuses %s', (_name, body, status, code, recorded) => {
    for (const chunk of [0, 1, 7]) {
      const play = new Play(TWO)
      const reply = play.send({ body, chunk })
      expect(reply).toMatchObject({ to: status, error: { code }, grpcStatus: GrpcStatus.OK, endpoints: undefined })
      expect(reply.record).toEqual({ reason: code, ...(recorded === undefined ? {} : { model: recorded }) })
      expect(reply.set['content-type']).toBe('application/json')
      expect(play.outcomes.refusedWith).toEqual(new Map([[code, 1]]))
    }
  })

  it('takes names of any script, escaped or not, and names that JavaScript knows', () => {
    const names = ['模型-7b', '🚂', 'constructor', '__proto__', 'toString', 'a b', 'org/m:v1']
    const play = new Play(
      plan(
        names.map((name, i) => entry([rule(name, { model: model(name) })], { id: `e@${i}` })),
        [],
      ),
    )
    for (const [i, name] of names.entries()) {
      const escaped = Array.from({ length: name.length }, (_, at) => escape(name.charCodeAt(at))).join('')
      for (const body of [JSON.stringify({ model: name }), `{"model":"${escaped}"}`]) {
        const reply = play.send({ body, entry: `e@${i}` })
        expect([reply.to, reply.set['x-gateway-model-name'], reply.set['x-gateway-base-model-name']]).toEqual([
          name,
          name,
          '',
        ])
      }
    }
  })

  it('knows base models by their own map only', () => {
    const changes = {
      routing: { modelHeader: 'x-m', baseModelHeader: 'x-b', baseModels: { sql: 'llama', llama: 'llama' } },
    }
    const play = new Play(plan([entry([rule('r', { baseModel: model('llama') })])], [], changes))
    expect(play.send({ body: '{"model":"sql"}' })).toMatchObject({ to: 'r', set: { 'x-m': 'sql', 'x-b': 'llama' } })
    expect(play.send({ body: '{"model":"constructor"}' })).toMatchObject({
      to: 404,
      error: { code: 'model_not_found' },
    })
  })

  it.each([
    ['audio', { 'content-type': 'audio/wav' }, 415],
    ['a type that only begins like JSON', { 'content-type': 'application/jsonlines' }, 415],
    ['compressed JSON', { 'content-type': 'application/json', 'content-encoding': 'gzip' }, 415],
    ['a form without boundary', { 'content-type': 'multipart/form-data' }, 400],
    ['JSON by another name', { 'content-type': 'application/vnd.api+JSON; charset=utf-8' }, 'to-pa'],
    ['what curl -d says', { 'content-type': 'application/x-www-form-urlencoded' }, 'to-pa'],
    ['JSON in capitals', { 'content-type': 'Application/JSON ; charset=utf-8' }, 'to-pa'],
    ['an empty type', { 'content-type': '' }, 'to-pa'],
    ['the identity encoding', { 'content-encoding': 'Identity' }, 'to-pa'],
  ])('reads by the content type: %s', (_name, headers, to) => {
    expect(new Play(TWO).send({ headers, body: '{"model":"a"}' }).to).toBe(to)
  })

  it('finds the model of a form', () => {
    const headers = { 'content-type': 'multipart/form-data; boundary=Xx' }
    const part = (name: string, value: string) =>
      `--Xx\r\ncontent-disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`
    const form = `${part('file', 'RIFF')}${part('model', 'b')}--Xx--\r\n`
    for (const chunk of [0, 1, 7]) {
      expect(new Play(TWO).send({ headers, body: form, chunk }).to).toBe('to-pb')
      expect(new Play(TWO).send({ headers, body: `${part('model', '')}--Xx--`, chunk }).error?.code).toBe(
        'missing_model',
      )
      expect(new Play(TWO).send({ headers, body: part('model', 'b').slice(0, -1), chunk }).error?.code).toBe(
        'invalid_multipart',
      )
      const broken = Buffer.from(`${part('model', 'b\xff')}--Xx--`, 'latin1')
      expect(new Play(TWO).send({ headers, body: broken, chunk }).error?.code).toBe('invalid_model')
    }
  })

  it('tells a request without a body what it lacks', () => {
    expect(new Play(TWO).send({ method: 'GET' }).error?.code).toBe('route_not_found')
    expect(new Play(TWO).send({ method: 'POST' }).error?.code).toBe('missing_model')
    expect(new Play(TWO).send({ method: 'POST', body: '{"model":"a"}', mode: 'none' }).error?.code).toBe(
      'missing_model',
    )
  })

  it('decides on the first model, or on the only one, as the plan says', () => {
    const twice = '{"model":"a","x":1,"model":"b"}'
    expect(new Play(TWO).send({ body: twice }).to).toBe('to-pa')
    const whole = plan([{ ...TWO.entries[0]!, model: 'whole' }], TWO.pools)
    for (const chunk of [0, 1, 7]) {
      expect(new Play(whole).send({ body: twice, chunk }).error?.code).toBe('duplicate_key')
      expect(new Play(whole).send({ body: '{"model":"a","x":1}', chunk }).to).toBe('to-pa')
    }
  })

  it('waits for the end of a short body that may be retried, and for the only model with it', () => {
    const retried = plan([{ ...TWO.entries[0]!, retryBufferBytes: 1 << 20 }], TWO.pools)
    const twice = '{"model":"a","x":1,"model":"b"}'
    const send = (body: string, mode: 'look' | 'duplex', chunk = 0) =>
      new Play(retried).send({ body, mode, chunk, headers: { 'content-length': String(body.length) } })
    for (const mode of ['look', 'duplex'] as const) {
      for (const chunk of [0, 1, 7]) {
        expect(send(twice, mode, chunk).error?.code).toBe('duplicate_key')
        expect(send('{"model":"a","x":1}', mode, chunk).to).toBe('to-pa')
      }
      expect(send(twice.padEnd(64 * 1024), mode).error?.code).toBe('duplicate_key')
      expect(send(twice.padEnd(64 * 1024 + 1), mode).to).toBe('to-pa')
      // Of a body of unknown length nobody knows whether it is short.
      expect(new Play(retried).send({ body: twice, mode }).to).toBe('to-pa')
    }
    const followed = plan([{ ...retried.entries[0]!, followResponse: true }], TWO.pools)
    const headers = { 'content-length': String(twice.length) }
    expect(new Play(followed).send({ body: twice, headers }).to).toBe('to-pa')
  })

  it('marks its own answers, so that Envoy knows them from those that it makes', () => {
    const play = new Play(TWO)
    const replies = [
      play.send({ body: '{"model":"a"}' }),
      play.send({ body: '{"model":"unknown"}' }),
      play.send({ method: 'GET', path: '/v1/models' }),
    ]
    expect(replies.map(({ to, answered }) => [to, answered])).toEqual([
      ['to-pa', undefined],
      [404, 'signalbox'],
      [404, 'signalbox'],
    ])
  })

  it('answers 413 for what is too large, announced or not, and knows no model then', () => {
    const small = plan([{ ...TWO.entries[0]!, maxBodyBytes: 10 }], TWO.pools)
    const play = new Play(small)
    expect(play.send({ body: '{"model":"a"}', headers: { 'content-length': '13' } }).record).toEqual({
      reason: 'request_too_large',
    })
    expect(play.send({ body: '{"model":"a"}', chunk: 4 })).toMatchObject({
      to: 413,
      error: { code: 'request_too_large' },
    })
    for (const length of ['9007199254740993', '9'.repeat(400)]) {
      expect(play.send({ body: '{"model":"a"}', headers: { 'content-length': length } }).to).toBe(413)
    }
  })

  it.each(['', 'abc', '-1', '1e3', '0x10', '13, 13', ' 13', '13.0'])(
    'refuses a content-length that is no number: "%s"',
    length => {
      const reply = new Play(TWO).send({ body: '{"model":"a"}', headers: { 'content-length': length } })
      expect(reply).toMatchObject({ to: 400, error: { code: 'invalid_content_length' }, endpoints: undefined })
    },
  )
})

describe('targets', () => {
  it('are chosen by weight; those of weight 0 never', () => {
    const targets = [
      target('none', { weight: 0 }),
      target('one', { weight: 1 }),
      target('three', { weight: 3 }),
      target('nil', { weight: 0 }),
    ]
    const play = new Play(plan([entry([rule('r', { targets })], { body: 'none' })], []))
    const counts: Record<string, number> = {}
    for (let i = 0; i < 400; i++) {
      play.random = i / 400
      const { to } = play.send({ method: 'GET' })
      counts[to] = (counts[to] ?? 0) + 1
    }
    expect(counts).toEqual({ one: 100, three: 300 })
    play.random = 1 - Number.EPSILON / 2
    expect(play.send({ method: 'GET' }).to).toBe('three')
  })

  it.each([[[]], [[target('zero', { weight: 0 })]]])('500 where there is none to choose', targets => {
    const play = new Play(plan([entry([rule('r', { targets })])], []))
    expect(play.send({ body: '{"model":"a"}' })).toMatchObject({
      to: 500,
      record: { model: 'a', route: 'r', reason: 'no_backend' },
    })
  })

  it('without retries take bodies that go on', () => {
    const twin = [target('retried', { unretriedId: 'unretried' })]
    const play = new Play(plan([entry([rule('r', { targets: twin })], { retryBufferBytes: 64 })], []))
    expect(play.send({ body: '{"model":"a"}' }).to).toBe('retried')
    const body = `{"model":"a","x":"${'x'.repeat(100)}"}`
    const headers = { 'content-length': String(body.length) }
    expect(play.send({ body, headers, chunk: 100 }).to).toBe('unretried')
  })
})

describe('pools', () => {
  const one = (changes: Parameters<typeof pool>[2], addresses = [A]) =>
    plan([entry([rule('r', { targets: toPool('p') })])], [pool('p', addresses, changes)])

  it('without endpoints refuse, or leave it to Envoy', () => {
    expect(new Play(one({}, [])).send({ body: '{"model":"a"}' })).toMatchObject({
      to: 503,
      record: { model: 'a', route: 'r', pool: 'p', reason: 'no_endpoints' },
      set: { 'retry-after': '1' },
    })
    expect(new Play(one({ failOpen: true }, [])).send({ body: '{"model":"a"}' })).toMatchObject({
      to: 'to-p',
      endpoints: undefined,
      record: { pool: 'p', reason: 'fail-open' },
    })
  })

  it('keep to the subset hint, even when they fail open', () => {
    const play = new Play(one({ failOpen: true }, [A, B]))
    expect(play.send({ body: '{}', subset: B }).endpoints).toBe(B)
    expect(play.send({ body: '{}', subset: '10.9.9.9' })).toMatchObject({ to: 503, error: { code: 'no_endpoints' } })
  })

  it('refuse models that nobody lists, once everybody has', () => {
    const play = new Play(
      one({ rejectUnknownModels: true, rewrites: [{ model: 'alias', targets: [{ model: 'real', weight: 1 }] }] }),
    )
    expect(play.send({ body: '{"model":"x"}' }).to).toBe('to-p')
    const live = play.linked.pools.get('p')!
    live.listed(0, live.table.generation[0]!, [{ id: 'real' }])
    expect(play.send({ body: '{"model":"x"}' })).toMatchObject({
      to: 404,
      record: { model: 'x', route: 'r', pool: 'p', reason: 'model_not_found' },
    })
    expect([live.takeRelist(), live.takeRelist()]).toEqual([true, false])
    expect(play.send({ body: '{"model":"real"}' }).to).toBe('to-p')
    expect(play.send({ body: '{"model":"alias"}' }).to).toBe('to-p')
    expect(play.send({ body: '{}' }).to).toBe('to-p')
  })

  it('list their models themselves', () => {
    const rewrites = [{ model: 'alias', targets: [{ model: 'real', weight: 1 }] }]
    const play = new Play(
      plan(
        [entry([rule('r', { targets: toPool('p') })], { body: 'none', listModels: true })],
        [pool('p', [A], { rewrites })],
      ),
    )
    const live = play.linked.pools.get('p')!
    live.listed(0, live.table.generation[0]!, [{ id: 'real' }, { id: 'lora', parent: 'real' }])
    for (const path of ['/v1/models', '/v1/models?x=1', '/v1/models#x']) {
      const reply = play.send({ method: 'GET', path })
      expect([reply.to, reply.record]).toEqual([200, { reason: 'model_list' }])
      expect(
        (JSON.parse(reply.body) as { data: { id: string; parent?: string }[] }).data.map(({ id, parent }) => [
          id,
          parent,
        ]),
      ).toEqual([
        ['alias', undefined],
        ['lora', 'real'],
        ['real', undefined],
      ])
    }
    for (const path of ['/v1/modelsx', '/v1/models/real', '', '/'])
      expect(play.send({ method: 'GET', path }).to).toBe('to-p')
    expect(play.send({ method: 'POST', path: '/v1/models' }).to).toBe('to-p')
    expect(play.outcomes.answeredWith).toEqual(new Map([['model_list', 3]]))
  })

  it('list the names that rewrites accept only where a rule leads to them', () => {
    const rewrites = [{ model: 'alias', targets: [{ model: 'real', weight: 1 }] }]
    const exact = (value: string) => ({ type: 'exact', name: 'x-gateway-model-name', value }) as const
    const names = (model: string) => {
      const rules = [rule('r', { model: exact(model), targets: toPool('p') })]
      const play = new Play(plan([entry(rules, { body: 'none', listModels: true })], [pool('p', [A], { rewrites })]))
      const { data } = JSON.parse(play.send({ method: 'GET', path: '/v1/models' }).body) as { data: { id: string }[] }
      return data.map(({ id }) => id)
    }
    expect(names('real')).toEqual([])
    expect(names('alias')).toEqual(['alias'])
  })
})

describe('in-flight counts', () => {
  const follow = (changes: Parameters<typeof entry>[1]) =>
    plan([entry([rule('r', { targets: toPool('p') })], { followResponse: true, ...changes })], [pool('p', [A])])
  const responseEnds = {
    request: { case: 'responseHeaders' as const, value: { headers: { headers: [] }, endOfStream: true } },
  }

  it('fall once when the response ends', () => {
    const play = new Play(follow({}))
    const envoy = play.open({ body: '' })
    sendBody(envoy, '{}', true)
    expect(play.inFlight('p')).toBe(1)
    envoy.sends(responseEnds)
    expect(play.inFlight('p')).toBe(0)
    envoy.resets()
    expect(play.inFlight('p')).toBe(0)
  })

  it('fall with the next scrape when the stream ends without a response: the request is only just on its way', () => {
    const play = new Play(follow({}))
    const envoy = play.open({ body: '' })
    sendBody(envoy, '{}', true)
    envoy.resets()
    expect(play.inFlight('p')).toBe(1)
    const pool = play.linked.pools.get('p')!
    scrape(pool, pool.table.live[0]!, { running: 1 }, 1000)
    expect(play.inFlight('p')).toBe(0)
  })

  it.each(['response', 'access-log'] as const)(
    'of gateways that are not ours fall with the response, where %s releases',
    releaseBy => {
      const play = new Play(follow({ attach: 'gateway' }), releaseBy)
      for (const end of ['response', 'reset'] as const) {
        const envoy = play.open({ path: '/other', body: '' })
        sendBody(envoy, '{}', true)
        expect(play.inFlight('p')).toBe(1)
        if (end === 'response') envoy.sends(responseEnds)
        envoy.resets()
        const pool = play.linked.pools.get('p')!
        if (end === 'reset') scrape(pool, pool.table.live[0]!, { running: 1 }, 1000)
        expect(play.inFlight('p')).toBe(0)
      }
    },
  )

  it.each(['response', 'access-log'] as const)(
    'fall when a decision was made and never sent (%s releases)',
    releaseBy => {
      const held = plan([entry([rule('r', { targets: toPool('p') })], { retryBufferBytes: 1000 })], [pool('p', [A])])
      const play = new Play(held, releaseBy)
      const waiting = () => {
        const envoy = play.open({ body: '' })
        sendBody(envoy, '{"model":"a"} ', false)
        expect([play.inFlight('p'), envoy.receivesWords()]).toEqual([1, []])
        return envoy
      }
      waiting().resets()
      expect(play.inFlight('p')).toBe(0)
      waiting().halfCloses()
      expect(play.inFlight('p')).toBe(0)
      const slow = waiting()
      play.now += 20_000
      play.service.tick()
      expect(readReply(slow)).toMatchObject({
        to: 408,
        record: { model: 'a', reason: 'request_timeout' },
        endpoints: undefined,
      })
      expect(play.inFlight('p')).toBe(0)
    },
  )

  it('stay for the access log when the decision was sent', () => {
    const play = new Play(plan([entry([rule('r', { targets: toPool('p') })])], [pool('p', [A])]), 'access-log')
    play.send({ body: '{"model":"a"}' })
    expect(play.inFlight('p')).toBe(1)
    play.linked.pools.get('p')!.releaseAddress(A)
    expect(play.inFlight('p')).toBe(0)
  })
})

describe('a gateway that is not ours', () => {
  const gateway = (changes: Parameters<typeof pool>[2] = {}, addresses = [A]) =>
    plan(
      [entry([rule('r', { targets: toPool('p') })], { attach: 'gateway', body: 'full-duplex', followResponse: true })],
      [pool('p', addresses, changes)],
    )

  it('gets the endpoint as header and metadata, and no record', () => {
    const reply = new Play(gateway()).send({ mode: 'duplex', body: '{"model":"a","messages":[{}]}' })
    expect(reply).toMatchObject({
      set: { 'x-gateway-destination-endpoint': A, 'x-gateway-model-name': 'a', 'x-gateway-base-model-name': '' },
      endpoints: A,
      record: {},
      body: '{"model":"a","messages":[{}]}',
    })
    expect(reply.set).not.toHaveProperty('x-signalbox-target')
  })

  it('has forged headers removed', () => {
    const open = new Play(gateway({ failOpen: true }, []))
    expect(open.send({ mode: 'duplex', path: '/other', body: '{}' }).removed).toEqual([
      'x-gateway-destination-endpoint',
      'x-gateway-model-name',
      'x-gateway-base-model-name',
    ])
  })

  it('gets refusals without a record', () => {
    expect(new Play(gateway({}, [])).send({ mode: 'duplex', body: '{"model":"a","messages":[{}]}' })).toMatchObject({
      to: 503,
      record: {},
      endpoints: undefined,
    })
  })
})

function escape(unit: number): string {
  return `\\u${unit.toString(16).padStart(4, '0')}`
}
