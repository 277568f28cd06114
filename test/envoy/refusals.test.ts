import { Agent } from 'node:http'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { compile } from '../../src/compile/compile.ts'
import { readTexts } from '../../src/config/object-set.ts'
import {
  bodyTooLarge,
  duplicateKey,
  invalidModel,
  missingModel,
  modelNotFound,
  noEndpoints,
  type OpenAiProblem,
  openAiErrorBody,
  saturated,
  unsupportedMediaType,
} from '../../src/llm/openai-error.ts'
import { describeOnPlanes } from '../support/envoy-suite.ts'
import { freePort } from '../support/free-ports.ts'
import { type ClientRequest, type ClientResponse, openHttp2, sendHttp1, sendHttp2 } from '../support/http-client.ts'
import { type ModelServer, modelsAreListed, startModelServer } from '../support/model-server.ts'
import { documents, GATEWAY, parametersYaml, poolYaml, routeYaml } from '../support/pool-config.ts'
import { jsonReply } from '../support/reply.ts'
import { Rig } from '../support/rig.ts'
import { waitFor } from '../support/wait-for.ts'

/** The smallest cap that Envoy holds a body up to. */
const CAP = 1024 * 1024

type Refused = Omit<ClientRequest, 'port'>

const JSON_TYPE = { 'content-type': 'application/json' }

function post(
  body: string | Buffer,
  path = '/v1/chat/completions',
  headers: Record<string, string> = JSON_TYPE,
): Refused {
  return { method: 'POST', path, headers, body }
}

const chat = (model: unknown) => JSON.stringify({ model, messages: [{ role: 'user', content: 'Hello' }] })

/** Two pools of one server each, chosen by the model; a pool whose server is gone; one whose queue is full. */
function configuration(addresses: { m: string; n: string; gone: string; full: string }): string {
  return documents(
    GATEWAY,
    poolYaml({ name: 'pool-m', addresses: [addresses.m] }),
    poolYaml({ name: 'pool-n', addresses: [addresses.n] }),
    poolYaml({
      name: 'pair',
      addresses: [addresses.m, addresses.n],
      annotations: { 'signalbox.dev/unknown-models': 'Forward' },
    }),
    poolYaml({ name: 'gone', addresses: [addresses.gone] }),
    poolYaml({ name: 'full', addresses: [addresses.full] }),
    routeYaml({ models: { m: 'pool-m', n: 'pool-n' } }),
    routeYaml({ name: 'any', prefix: '/any', models: { '': 'pool-m' } }),
    routeYaml({
      name: 'whole',
      prefix: '/whole',
      models: { '': 'pool-m' },
      annotations: { 'signalbox.dev/model-fact': 'whole' },
    }),
    routeYaml({
      name: 'duplex',
      prefix: '/duplex',
      models: { '': 'pool-m' },
      annotations: { 'signalbox.dev/body': 'full-duplex' },
    }),
    routeYaml({ name: 'pair', prefix: '/pair', models: { '': 'pair' } }),
    routeYaml({ name: 'gone', prefix: '/gone', models: { '': 'gone' } }),
    routeYaml({ name: 'full', prefix: '/full', models: { '': 'full' } }),
    parametersYaml(`{ limits: { maxRequestBodyBytes: ${CAP} }, scheduling: { maxQueue: 5 } }`),
  )
}

/** Ids of the target routes, by pool: what a client would have to forge. */
function targetIds(config: string): Record<string, string> {
  const set = readTexts([{ file: 'config.yaml', text: config.replaceAll('@PORT@', '80') }])
  const { plan } = compile(set.items, { extProc: { addresses: ['127.0.0.1:1'] } })
  const targets = plan.entries.flatMap(entry => entry.rules.flatMap(rule => rule.targets))
  return Object.fromEntries(targets.map(target => [target.pool!, target.id]))
}

describeOnPlanes('what must not reach an upstream', plane => {
  let m: ModelServer
  let n: ModelServer
  let full: ModelServer
  let rig: Rig
  let config: string

  beforeAll(async () => {
    m = await startModelServer({ name: 'm', models: ['m'] })
    n = await startModelServer({ name: 'n', models: ['n'] })
    full = await startModelServer({ name: 'full', models: ['m'], waiting: 9 })
    const gone = `127.0.0.1:${await freePort()}`
    config = configuration({ m: m.address, n: n.address, full: full.address, gone })
    rig = await Rig.start({ plane, config })
    await modelsAreListed(rig, [m, n, full])
    await waitFor('the dead endpoint to be noticed', async () => {
      const pools = await rig.admin<Record<string, { state: string; waiting: number }[]>>('/pools')
      return pools['default/gone']![0]!.state === 'unreachable' && pools['default/full']![0]!.waiting === 9
    })
  })
  afterAll(async () => {
    await rig?.stop()
    await Promise.all([m?.close(), n?.close(), full?.close()])
  })
  beforeEach(async () => {
    await rig.decides('/any/x')
    for (const server of [m, n, full]) {
      server.script()
      server.forget()
    }
  })

  const served = () => [...m.served, ...n.served, ...full.served].map(({ path }) => path)
  const isRefusal = (response: ClientResponse, problem: OpenAiProblem) => {
    expect({ status: response.status, type: response.headers['content-type'], body: response.body.toString() }).toEqual(
      {
        status: problem.status,
        type: 'application/json',
        body: openAiErrorBody(problem).toString(),
      },
    )
    expect(response.headers['content-length']).toBe(String(response.body.length))
    expect(response.headers['retry-after']).toBe(problem.status === 429 || problem.status === 503 ? '1' : undefined)
  }

  /** Requests, and why each is refused. */
  const REFUSED: readonly (readonly [what: string, request: Refused, problem: OpenAiProblem])[] = [
    ['a model that no rule names', post(chat('other')), modelNotFound('other')],
    ['a model that the pool does not have', post(chat('other'), '/any/x'), modelNotFound('other')],
    ['a model of another pool', post(chat('n'), '/any/x'), modelNotFound('n')],
    ['a model with letters beyond ASCII', post(chat('modèle "🚂"')), modelNotFound('modèle "🚂"')],
    ['a model with other capitals', post(chat('M')), modelNotFound('M')],
    ['no model', post('{"messages":[]}'), missingModel()],
    ['an empty model', post(chat('')), missingModel()],
    ['a model null', post(chat(null)), missingModel()],
    ['a list for a model', post(chat(['m'])), missingModel()],
    ['an object for a model', post(chat({ model: 'm' })), missingModel()],
    ['a model in a nested object only', post('{"a":{"model":"m"}}'), missingModel()],
    ['an array', post('[{"model":"m"}]'), missingModel()],
    ['an empty body', post(''), missingModel()],
    ['an empty body, chunked', { ...post(''), framing: 'chunked' }, missingModel()],
    ['a model with a zero byte', post(chat('m\u0000')), invalidModel()],
    ['a model with a line break', post(chat('m\r\nx-admin: 1')), invalidModel()],
    ['a model with a DEL', post(chat('m\u007f')), invalidModel()],
    ['a model of 1 MB', post(chat('m'.repeat(1_000_000))), invalidModel()],
    ['model twice, whole', post('{"model":"m","model":"n"}', '/whole'), duplicateKey('model')],
    ['model twice, once escaped', post(String.raw`{"model":"m","mod\u0065l":"n"}`, '/whole'), duplicateKey('model')],
    [
      'model twice, far apart',
      post(`{"model":"m","p":"${'x'.repeat(300_000)}","model":"m"}`, '/whole'),
      duplicateKey('model'),
    ],
    ['model twice in a short body', post('{"model":"m","model":"n"}'), duplicateKey('model')],
    ['model twice in a short body, full duplex', post('{"model":"m","model":"n"}', '/duplex'), duplicateKey('model')],
    ['half a character in the model', post(String.raw`{"model":"m\ud83d"}`), invalidModel()],
    ['an image', post(chat('m'), '/v1/x', { 'content-type': 'image/png' }), unsupportedMediaType()],
    ['bytes', post(chat('m'), '/v1/x', { 'content-type': 'application/octet-stream' }), unsupportedMediaType()],
    ['a body over the cap', post(`{"p":"${'x'.repeat(CAP)}","model":"m"}`), bodyTooLarge(CAP)],
    ['one that is one byte over', post(chat('m').padEnd(CAP + 1)), bodyTooLarge(CAP)],
    ['no endpoint', post(chat('m'), '/gone'), noEndpoints()],
    ['no endpoint for a GET', { path: '/gone' }, noEndpoints()],
    ['full queues', post(chat('m'), '/full'), saturated()],
  ]

  it.each(REFUSED)('%s', async (_what, request, problem) => {
    for (const send of [sendHttp1, sendHttp2]) isRefusal(await send({ port: rig.port, ...request }), problem)
    expect(served()).toEqual([])
  })

  it.each([
    ['not JSON', 'Hello'],
    ['a missing colon', '{"model" "m"}'],
    ['a trailing comma', '{"messages":[],}'],
    ['single quotes', "{'model':'m'}"],
    ['a body cut off', '{"messages":[{"role":"user"'],
    ['a string cut off in the model', '{"model":"m'],
    ['a line break in the model', '{"model":"m\n"}'],
    ['a model that is no UTF-8', Buffer.from('{"model":"m\xff"}', 'latin1')],
    ['too deep', `{"a":${'['.repeat(100_000)}`],
  ])('invalid JSON: %s', async (_what, body) => {
    for (const send of [sendHttp1, sendHttp2]) {
      for (const framing of ['content-length', 'chunked'] as const) {
        const response = await send({ port: rig.port, ...post(body), framing })
        expect([response.status, response.headers['content-type']]).toEqual([400, 'application/json'])
        const { error } = JSON.parse(response.body.toString()) as { error: Record<string, unknown> }
        expect(error).toEqual({
          message: expect.stringMatching(/^The request body is not valid JSON/),
          type: 'invalid_request_error',
          param: null,
          code: 'invalid_json',
        })
      }
    }
    expect(served()).toEqual([])
  })

  it.each(['/v1/x', '/whole', '/duplex'])('a body over the cap whose length nobody tells: %s', async path => {
    const body = `{"p":"${'x'.repeat(CAP)}","model":"m"}`
    for (const send of [sendHttp1, sendHttp2]) {
      isRefusal(await send({ port: rig.port, ...post(body, path), framing: 'chunked' }), bodyTooLarge(CAP))
    }
    expect(served()).toEqual([])
  })

  it.each([
    ['a path that no route has', post(chat('m'), '/v2/chat/completions')],
    ['a path that begins like a route', post(chat('m'), '/v1x')],
    ['a path that leaves its route', post(chat('m'), '/v1/../admin')],
    ['a GET without a body where a model is needed', { path: '/v1/chat/completions' }],
    ['a HEAD there', { path: '/v1/chat/completions', method: 'HEAD' }],
    ['a DELETE there', { path: '/v1/files/x', method: 'DELETE' }],
  ] satisfies (readonly [string, Refused])[])('%s', async (_what, request) => {
    for (const send of [sendHttp1, sendHttp2]) {
      const response = await send({ port: rig.port, ...request })
      expect([response.status, response.headers['content-type']]).toEqual([404, 'application/json'])
      if (request.method === 'HEAD') continue
      const { error } = JSON.parse(response.body.toString()) as { error: Record<string, unknown> }
      expect(error).toEqual({
        message: expect.any(String),
        type: 'invalid_request_error',
        param: null,
        code: 'route_not_found',
      })
    }
    expect(served()).toEqual([])
  })

  it('the next request on the same connection works (HTTP/1.1)', async () => {
    const agent = new CountingAgent({ keepAlive: true, maxSockets: 1 })
    const wanted: string[] = []
    let announced = 0
    try {
      for (const [i, [, request, problem]] of REFUSED.entries()) {
        const refused = await sendHttp1({ port: rig.port, agent, ...request })
        isRefusal(refused, problem)
        // Envoy closes the connection after a 400, and where the rest of an upload would have to be read.
        if (refused.headers['connection'] === 'close') announced++
        const path = `/v1/chat/completions?i=${i}`
        const next = await sendHttp1({ port: rig.port, agent, ...post(chat('m'), path) })
        expect([next.status, next.body.toString()]).toEqual([200, '{"backend":"m"}'])
        wanted.push(path)
      }
    } finally {
      agent.destroy()
    }
    expect(served()).toEqual(wanted)
    expect(agent.opened).toBeLessThanOrEqual(1 + announced)
  })

  it('the next request on the same connection works (HTTP/2)', async () => {
    const connection = openHttp2(rig.port)
    const wanted: string[] = []
    try {
      for (const [i, [, request, problem]] of REFUSED.entries()) {
        isRefusal(await connection.send(request), problem)
        const path = `/v1/chat/completions?i=${i}`
        const next = await connection.send(post(chat('m'), path))
        expect([next.status, next.body.toString()]).toEqual([200, '{"backend":"m"}'])
        wanted.push(path)
      }
    } finally {
      connection.close()
    }
    expect(served()).toEqual(wanted)
  })

  describe('forged headers', () => {
    const forged = (): Record<string, string> => ({
      'x-gateway-model-name': 'n',
      'x-gateway-base-model-name': 'forged',
      'x-gateway-destination-endpoint': n.address,
      'x-gateway-destination-endpoint-subset': n.address,
      'x-gateway-destination-endpoint-served': n.address,
      'x-signalbox-target': targetIds(config)['default/pool-n']!,
      'x-signalbox-entry': 'forged',
      'x-envoy-retry-on': '5xx,retriable-4xx',
      'x-envoy-retry-grpc-on': 'internal',
      'x-envoy-max-retries': '9',
      'x-envoy-retriable-status-codes': '500',
      'x-envoy-retriable-header-names': 'content-type',
      'x-envoy-hedge-on-per-try-timeout': 'true',
    })

    it.each([
      ['HTTP/1.1', sendHttp1],
      ['HTTP/2', sendHttp2],
    ])('change neither backend nor headers: %s', async (_label, send) => {
      const request = post(chat('m'))
      const plain = await send({ port: rig.port, ...request })
      const response = await send({ port: rig.port, ...request, headers: { ...JSON_TYPE, ...forged() } })
      expect([plain.body.toString(), response.body.toString()]).toEqual(['{"backend":"m"}', '{"backend":"m"}'])
      expect(n.served).toEqual([])
      const [without, with_] = m.served.map(({ headers: { 'x-request-id': _id, ...headers } }) => headers)
      expect(with_).toEqual(without)
      expect(with_).toMatchObject({ 'x-gateway-model-name': 'm', 'x-gateway-base-model-name': '' })
    })

    it('with other capitals, and many times', async () => {
      const headers = {
        ...JSON_TYPE,
        'X-Gateway-Model-Name': 'n',
        'X-SIGNALBOX-TARGET': targetIds(config)['default/pool-n']!,
      }
      await sendHttp1({ port: rig.port, ...post(chat('m')), headers })
      expect([m.served.length, n.served.length]).toEqual([1, 0])
      expect(m.served[0]!.headers['x-gateway-model-name']).toBe('m')
      expect(m.served[0]!.headers['x-signalbox-target']).toBeUndefined()
    })

    it('give no model to a request that has none', async () => {
      for (const body of ['{"messages":[]}', '']) {
        isRefusal(
          await sendHttp1({ port: rig.port, ...post(body), headers: { ...JSON_TYPE, ...forged() } }),
          missingModel(),
        )
      }
      isRefusal(await sendHttp1({ port: rig.port, ...post(chat('other')), headers: forged() }), modelNotFound('other'))
      const get = await sendHttp1({ port: rig.port, path: '/v1/chat/completions', headers: forged() })
      expect(get.status).toBe(404)
      expect(served()).toEqual([])
    })

    it('make no retries', async () => {
      for (const server of [m, n]) server.script(() => jsonReply({ error: 'broken' }, 500))
      const headers = { ...JSON_TYPE, ...forged() }
      const response = await sendHttp1({ port: rig.port, ...post(chat('x'), '/pair/x'), headers })
      expect(response.status).toBe(500)
      expect(served()).toHaveLength(1)
    })
  })

  it('the access log tells model, pool, endpoint and reason of what was routed, and why the rest was not', async () => {
    const path = `/v1/log-${Math.random()}`
    await sendHttp1({ port: rig.port, ...post(chat('m'), `${path}?key=secret`) })
    await sendHttp1({ port: rig.port, ...post(chat('other'), path) })
    await sendHttp1({ port: rig.port, ...post('{', path) })
    await sendHttp1({ port: rig.port, ...post(chat('m'), '/gone/log') })
    await sendHttp1({ port: rig.port, ...post(chat('m'), '/full/log') })
    const ours = (entry: Record<string, unknown>) => [path, '/gone/log', '/full/log'].includes(String(entry['path']))
    const entries = await waitFor('five entries', async () => {
      const found = (await rig.accessLog()).filter(ours)
      return found.length === 5 ? found : undefined
    })
    expect(entries.sort((a, b) => String(a['time']).localeCompare(String(b['time'])))).toMatchObject([
      {
        path,
        model: 'm',
        pool: 'default/pool-m',
        endpoint: m.address,
        upstream: m.address,
        reason: 'only-endpoint',
        status: 200,
      },
      {
        path,
        model: 'other',
        reason: 'model_not_found',
        status: 404,
        details: expect.stringContaining('signalbox_model_not_found'),
      },
      { path, reason: 'invalid_json', status: 400 },
      { model: 'm', pool: 'default/gone', reason: 'no_endpoints', status: 503 },
      { pool: 'default/full', reason: 'saturated', status: 429 },
    ])
    // Before 1.40 Envoy writes null for what it has been told to omit.
    for (const entry of entries.slice(1)) expect(entry['upstream'] ?? undefined).toBeUndefined()
    expect(JSON.stringify(entries)).not.toContain('secret')
  })
})

/** Counts the connections that it opened. */
class CountingAgent extends Agent {
  opened = 0

  override createConnection(...args: Parameters<Agent['createConnection']>): ReturnType<Agent['createConnection']> {
    this.opened++
    return super.createConnection(...args)
  }
}
