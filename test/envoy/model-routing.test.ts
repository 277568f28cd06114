import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { describeOnPlanes } from '../support/envoy-suite.ts'
import { freePort } from '../support/free-ports.ts'
import { type ClientRequest, type ClientResponse, sendHttp1, sendHttp2 } from '../support/http-client.ts'
import { type ModelServer, startModelServer } from '../support/model-server.ts'
import { documents, GATEWAY, parametersYaml, poolYaml } from '../support/pool-config.ts'
import { bodyRecord } from '../support/recorded-request.ts'
import { Rig } from '../support/rig.ts'
import { waitFor } from '../support/wait-for.ts'

/** One server and one pool each. What models they have nobody asks: the rules alone decide. */
const POOLS = ['llama', 'mistral', 'gpt', 'gold', 'debug', 'site', 'rewriting'] as const

const MODEL = 'x-gateway-model-name'
const BASE = 'x-gateway-base-model-name'

interface Rule {
  readonly prefix?: string
  readonly exact?: string
  readonly method?: string
  /** Name → value; a value between slashes is a regular expression. */
  readonly headers?: Readonly<Record<string, string>>
  readonly query?: Readonly<Record<string, string>>
  readonly pool: (typeof POOLS)[number]
}

function route(
  name: string,
  rules: readonly Rule[],
  spec: { parent?: string; hostnames?: readonly string[] } = {},
): string {
  const conditions = (values: Readonly<Record<string, string>> = {}) =>
    Object.entries(values).map(([key, value]) =>
      value.startsWith('/')
        ? { name: key, type: 'RegularExpression', value: value.slice(1, -1) }
        : { name: key, value },
    )
  return JSON.stringify({
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'HTTPRoute',
    metadata: { name },
    spec: {
      parentRefs: [{ name: spec.parent ?? 'gateway' }],
      ...(spec.hostnames === undefined ? {} : { hostnames: spec.hostnames }),
      rules: rules.map(({ prefix, exact, method, headers, query, pool }) => ({
        matches: [
          {
            path:
              exact === undefined ? { type: 'PathPrefix', value: prefix ?? '/v1' } : { type: 'Exact', value: exact },
            ...(method === undefined ? {} : { method }),
            headers: conditions(headers),
            queryParams: conditions(query),
          },
        ],
        backendRefs: [{ group: 'inference.networking.k8s.io', kind: 'InferencePool', name: pool }],
      })),
    },
  })
}

const BASE_MODELS = `
apiVersion: v1
kind: ConfigMap
metadata: { name: adapters, labels: { inference.networking.k8s.io/bbr-managed: "true" } }
data:
  baseModel: llama
  adapters: |
    - sql
    - poems
`

const REWRITES = `
apiVersion: llm-d.ai/v1alpha2
kind: InferenceModelRewrite
metadata: { name: names }
spec:
  poolRef: { name: rewriting }
  rules:
    - matches: [{ model: { value: whisper } }]
      targets: [{ modelRewrite: whisper-large-v3-turbo }]
    - matches: [{ model: { value: a-very-long-name-for-a-model } }]
      targets: [{ modelRewrite: s }]
    - matches: [{ model: { value: quoted } }]
      targets: [{ modelRewrite: 'a "b" \\c/ä' }]
    - matches: [{ model: { value: auto } }]
      targets:
        - { modelRewrite: large, weight: 3 }
        - { modelRewrite: small, weight: 1 }
    - targets: [{ modelRewrite: the-default }]
`

function configuration(servers: ReadonlyMap<string, ModelServer>, secondPort: number): string {
  return documents(
    GATEWAY,
    GATEWAY.replace('name: gateway }', 'name: second }').replace('@PORT@', String(secondPort)),
    ...POOLS.map(name =>
      poolYaml({
        name,
        addresses: [servers.get(name)!.address],
        annotations: { 'signalbox.dev/unknown-models': 'Forward' },
      }),
    ),
    BASE_MODELS,
    REWRITES,
    route('models', [
      { headers: { [BASE]: 'llama' }, pool: 'llama' },
      { headers: { [MODEL]: '/mistral-[0-9]+b/' }, pool: 'mistral' },
      { headers: { [MODEL]: '1' }, pool: 'mistral' },
      { headers: { [MODEL]: 'true' }, pool: 'mistral' },
      { headers: { [MODEL]: 'gpt', 'x-tier': '/gold|platinum/' }, pool: 'gold' },
      { headers: { [MODEL]: 'gpt' }, query: { debug: '1' }, pool: 'debug' },
      { headers: { [MODEL]: 'gpt' }, method: 'PUT', pool: 'site' },
      { headers: { [MODEL]: 'gpt' }, pool: 'gpt' },
      // Narrower paths: what they don't take falls through to the rules above.
      { prefix: '/v1/chat', headers: { [MODEL]: 'gpt' }, pool: 'mistral' },
      { exact: '/v1/chat/completions', headers: { [MODEL]: 'gpt' }, pool: 'debug' },
      { exact: '/v1/embeddings', headers: { 'x-tier': 'gold' }, pool: 'gold' },
      { prefix: '/r', pool: 'rewriting' },
    ]),
    route(
      'fall',
      [
        { headers: { [MODEL]: 'gpt' }, pool: 'gpt' },
        { prefix: '/', pool: 'site' },
      ],
      {
        hostnames: ['fall.example.com'],
      },
    ),
    route('one', [{ headers: { [MODEL]: 'gpt' }, pool: 'gold' }], { hostnames: ['one.example.com'] }),
    route('two', [{ headers: { [MODEL]: 'gpt' }, pool: 'debug' }], { hostnames: ['two.example.com'] }),
    route('wild', [{ headers: { [MODEL]: 'gpt' }, pool: 'site' }], { hostnames: ['*.example.com'] }),
    route('second', [{ headers: { [MODEL]: 'gpt' }, pool: 'mistral' }], { parent: 'second' }),
    parametersYaml(),
  )
}

const JSON_TYPE = { 'content-type': 'application/json' }
const chat = (model: unknown) => JSON.stringify({ messages: [{ role: 'user', content: '"model":"x"' }], model })

type Sent = Omit<ClientRequest, 'port'>

const PLAIN: Sent = { method: 'POST', path: '/v1/x', headers: JSON_TYPE }

const CLIENTS = [
  ['HTTP/1.1', sendHttp1],
  ['HTTP/2', sendHttp2],
] as const

describeOnPlanes('routing by model', plane => {
  const servers = new Map<string, ModelServer>()
  let rig: Rig
  let secondPort: number

  beforeAll(async () => {
    for (const name of POOLS) servers.set(name, await startModelServer({ name, models: [] }))
    secondPort = await freePort()
    rig = await Rig.start({ plane, config: configuration(servers, secondPort) })
    await waitFor('the second gateway', async () => (await fetch(`http://127.0.0.1:${secondPort}/up`)).status === 404)
  })
  beforeEach(async () => {
    await rig.decides('/v1/x')
    for (const server of servers.values()) server.forget()
  })
  afterAll(async () => {
    await rig?.stop()
    for (const server of servers.values()) await server.close()
  })

  /** The pool that served; a refusal as its status and code. */
  const outcome = ({ status, body }: ClientResponse): string => {
    const answer = JSON.parse(body.toString()) as { backend?: string; error?: { code: string } }
    return answer.backend ?? `${status} ${answer.error?.code}`
  }
  const received = (name: (typeof POOLS)[number]) => servers.get(name)!.served.at(-1)!

  it.each([
    ['a base model', { ...PLAIN, body: chat('llama') }, 'llama'],
    ['an adapter of it', { ...PLAIN, body: chat('sql') }, 'llama'],
    ['another adapter', { ...PLAIN, body: chat('poems') }, 'llama'],
    ['an adapter that nobody mapped', { ...PLAIN, body: chat('songs') }, '404 model_not_found'],
    ['a model spelled with escapes', { ...PLAIN, body: String.raw`{"mod\u0065l":"ll\u0061ma"}` }, 'llama'],
    ['a regular expression', { ...PLAIN, body: chat('mistral-7b') }, 'mistral'],
    ['a regular expression matches the whole name', { ...PLAIN, body: chat('mistral-7b-x') }, '404 model_not_found'],
    ['a number', { ...PLAIN, body: chat(1) }, 'mistral'],
    ['a number in a string', { ...PLAIN, body: chat('1') }, 'mistral'],
    ['another number', { ...PLAIN, body: chat(2) }, '404 model_not_found'],
    ['a boolean', { ...PLAIN, body: chat(true) }, 'mistral'],
    ['model alone', { ...PLAIN, body: chat('gpt') }, 'gpt'],
    ['model and header', { ...PLAIN, headers: { ...JSON_TYPE, 'x-tier': 'gold' }, body: chat('gpt') }, 'gold'],
    ['another header value', { ...PLAIN, headers: { ...JSON_TYPE, 'x-tier': 'golden' }, body: chat('gpt') }, 'gpt'],
    ['header without model', { ...PLAIN, headers: { 'x-tier': 'gold' }, body: chat('x') }, '404 model_not_found'],
    ['model and query', { ...PLAIN, path: '/v1/x?a=b&debug=1', body: chat('gpt') }, 'debug'],
    ['another query', { ...PLAIN, path: '/v1/x?debug=11', body: chat('gpt') }, 'gpt'],
    [
      'header goes before query',
      { ...PLAIN, path: '/v1/x?debug=1', headers: { 'x-tier': 'gold' }, body: chat('gpt') },
      'gold',
    ],
    [
      'method goes before both',
      { ...PLAIN, method: 'PUT', path: '/v1/x?debug=1', headers: { 'x-tier': 'gold' }, body: chat('gpt') },
      'site',
    ],
    ['a method for another model', { ...PLAIN, method: 'PUT', body: chat('llama') }, 'llama'],
    ['the exact path', { ...PLAIN, path: '/v1/chat/completions', body: chat('gpt') }, 'debug'],
    ['the exact path with a query', { ...PLAIN, path: '/v1/chat/completions?x=y', body: chat('gpt') }, 'debug'],
    ['the longer prefix', { ...PLAIN, path: '/v1/chat/x', body: chat('gpt') }, 'mistral'],
    [
      'from the exact path through two prefixes',
      { ...PLAIN, path: '/v1/chat/completions', body: chat('sql') },
      'llama',
    ],
    ['from the longer prefix through', { ...PLAIN, path: '/v1/chat/x', body: chat('sql') }, 'llama'],
    ['through to nothing', { ...PLAIN, path: '/v1/chat/x', body: chat('x') }, '404 model_not_found'],
    ['no whole segment', { ...PLAIN, path: '/v1/chats', body: chat('gpt') }, 'gpt'],
    [
      'an exact path by header',
      { ...PLAIN, path: '/v1/embeddings', headers: { 'x-tier': 'gold' }, body: chat('x') },
      'gold',
    ],
    ['from there through by model', { ...PLAIN, path: '/v1/embeddings', body: chat('gpt') }, 'gpt'],
    ['a path with dots and slashes', { ...PLAIN, path: '/r/../v1//chat/./completions', body: chat('gpt') }, 'debug'],
    ['no content-type', { ...PLAIN, headers: {}, body: chat('gpt') }, 'gpt'],
    [
      'JSON called a form',
      { ...PLAIN, headers: { 'content-type': 'application/x-www-form-urlencoded' }, body: chat('gpt') },
      'gpt',
    ],
    [
      'JSON of some kind',
      { ...PLAIN, headers: { 'content-type': 'Application/Vnd.X+JSON; charset=utf-8' }, body: chat('gpt') },
      'gpt',
    ],
  ] satisfies (readonly [string, Sent, string])[])('%s', async (_what, request, wanted) => {
    for (const [label, send] of CLIENTS) {
      for (const framing of ['content-length', 'chunked'] as const) {
        const response = await send({ port: rig.port, ...request, framing })
        expect([label, framing, outcome(response)]).toEqual([label, framing, wanted])
      }
    }
  })

  it('the backend is told the model and its base model', async () => {
    const told = async (model: unknown, pool: (typeof POOLS)[number]) => {
      await sendHttp1({ port: rig.port, ...PLAIN, body: chat(model) })
      const { headers } = received(pool)
      return [headers[MODEL], headers[BASE]]
    }
    expect(await told('sql', 'llama')).toEqual(['sql', 'llama'])
    expect(await told('llama', 'llama')).toEqual(['llama', 'llama'])
    expect(await told('mistral-7b', 'mistral')).toEqual(['mistral-7b', ''])
    expect(await told(1, 'mistral')).toEqual(['1', ''])
    expect(received('mistral').headers['x-signalbox-target']).toBeUndefined()
  })

  it.each([
    ['one.example.com', 'gold'],
    ['ONE.example.com:8443', 'gold'],
    ['two.example.com', 'debug'],
    ['two.example.com.', 'debug'],
    ['three.example.com', 'site'],
    ['a.b.example.com', 'site'],
    ['example.com', 'gpt'],
    ['127.0.0.1', 'gpt'],
  ])('host %s', async (host, wanted) => {
    const request = { port: rig.port, ...PLAIN, body: chat('gpt') }
    const http1 = await sendHttp1({ ...request, headers: { ...JSON_TYPE, host } })
    const http2 = await sendHttp2({ ...request, headers: { ...JSON_TYPE, ':authority': host } })
    expect([outcome(http1), outcome(http2)]).toEqual([wanted, wanted])
  })

  it('a host name has its own models, and nothing of the others', async () => {
    const ask = async (host: string, model: string) =>
      outcome(await sendHttp1({ port: rig.port, ...PLAIN, headers: { ...JSON_TYPE, host }, body: chat(model) }))
    expect(await ask('one.example.com', 'llama')).toBe('404 model_not_found')
    expect(await ask('x.example.com', 'llama')).toBe('404 model_not_found')
  })

  it('a rule for everything takes what no model rule wants, on its host', async () => {
    const headers = { ...JSON_TYPE, host: 'fall.example.com' }
    const ask = async (request: Sent) => outcome(await sendHttp1({ port: rig.port, ...PLAIN, ...request, headers }))
    expect(await ask({ body: chat('gpt') })).toBe('gpt')
    expect(await ask({ body: chat('anything') })).toBe('site')
    expect(await ask({ body: '{}' })).toBe('site')
    expect(await ask({ path: '/elsewhere', body: chat('gpt') })).toBe('site')
    expect(await ask({ method: 'GET', path: '/v1/x' })).toBe('site')
    expect(await ask({ method: 'GET', path: '/' })).toBe('site')
  })

  it('two gateways have their own routes', async () => {
    for (const [, send] of CLIENTS) {
      const request = { ...PLAIN, body: chat('gpt') }
      expect(outcome(await send({ port: rig.port, ...request }))).toBe('gpt')
      expect(outcome(await send({ port: secondPort, ...request }))).toBe('mistral')
      expect(outcome(await send({ port: secondPort, ...PLAIN, body: chat('llama') }))).toBe('404 model_not_found')
    }
  })

  describe('rewrites', () => {
    const rewritten = async (body: string | Uint8Array, more: Partial<Sent> = {}) => {
      const request = { port: rig.port, method: 'POST', path: '/r/x', headers: JSON_TYPE, body, ...more }
      const before = servers.get('rewriting')!.served.length
      for (const [, send] of CLIENTS) {
        for (const framing of ['content-length', 'chunked'] as const) {
          for (const writeBytes of [undefined, Math.ceil(body.length / 7)]) {
            const split = writeBytes === undefined ? {} : { writeBytes }
            const response = await send({ ...request, framing, ...split })
            expect([response.status, response.body.toString()]).toEqual([200, '{"backend":"rewriting"}'])
          }
        }
      }
      const requests = servers.get('rewriting')!.served.slice(before)
      expect(requests).toHaveLength(8)
      for (const { headers, body: got } of requests) {
        expect([undefined, String(got.length)]).toContain(headers['content-length'])
        expect(got.sha256).toBe(requests[0]!.body.sha256)
      }
      return requests[0]!
    }
    const json = (model: string) => `{ "messages" : [],\n "model" : ${model} , "n": 1.0e0 }`

    it.each([
      ['longer', json('"whisper"'), json('"whisper-large-v3-turbo"')],
      ['shorter', json('"a-very-long-name-for-a-model"'), json('"s"')],
      ['with characters that JSON quotes', json('"quoted"'), json(String.raw`"a \"b\" \\c/ä"`)],
      ['asked for with escapes', json(String.raw`"whi\u0073per"`), json('"whisper-large-v3-turbo"')],
      ['any other', json('"something"'), json('"the-default"')],
      ['a number', json('7'), json('"the-default"')],
      ['an empty one', json('""'), json('"the-default"')],
      ['none at all', '{"messages":[]}', '{"model":"the-default","messages":[]}'],
      ['in an empty object', '{}', '{"model":"the-default"}'],
      ['first of 300 KB', json('"whisper"').padEnd(300_000), json('"whisper-large-v3-turbo"').padEnd(300_015)],
    ])('%s', async (_what, body, wanted) => {
      const { body: got } = await rewritten(body)
      expect([got.length, got.sha256]).toEqual([Buffer.byteLength(wanted), bodyRecord(wanted).sha256])
      if (wanted.length < 1000) expect(got.bytes!.toString()).toBe(wanted)
    })

    it('the header keeps the name that was asked for', async () => {
      const { headers } = await rewritten(json('"whisper"'))
      expect(headers[MODEL]).toBe('whisper')
    })

    it('weights choose between targets', async () => {
      const total = 240
      const counts: Record<string, number> = { large: 0, small: 0 }
      for (let i = 0; i < total; i += 12) {
        const send = () => sendHttp1({ port: rig.port, ...PLAIN, path: '/r/x', body: chat('auto') })
        await Promise.all(Array.from({ length: 12 }, send))
      }
      for (const { body } of servers.get('rewriting')!.served) {
        const { model } = JSON.parse(body.bytes!.toString()) as { model: string }
        counts[model] = (counts[model] ?? 0) + 1
      }
      expect(Object.keys(counts)).toEqual(['large', 'small'])
      expect(counts['large']! + counts['small']!).toBe(total)
      // A quarter; six standard deviations of 240 tosses are 40.
      expect(Math.abs(counts['small']! - total / 4)).toBeLessThan(40)
    })

    it('in a form, after the audio', async () => {
      const form = (model: string) => audioForm(Buffer.alloc(200_000, audio), model)
      const headers = { 'content-type': 'multipart/form-data; boundary="form boundary"' }
      const { body } = await rewritten(form('whisper'), { path: '/r/v1/audio/transcriptions', headers })
      expect(body.sha256).toBe(bodyRecord(form('whisper-large-v3-turbo')).sha256)
    })
  })

  it('a form is routed by its model, wherever it stands', async () => {
    const headers = { 'content-type': 'multipart/form-data; boundary="form boundary"' }
    for (const [, send] of CLIENTS) {
      for (const framing of ['content-length', 'chunked'] as const) {
        for (const [model, wanted] of [
          ['sql', 'llama'],
          ['mistral-7b', 'mistral'],
          ['whisper', '404 model_not_found'],
        ] as const) {
          const body = audioForm(audio, model)
          const response = await send({ port: rig.port, path: '/v1/audio/transcriptions', headers, body, framing })
          expect(outcome(response)).toBe(wanted)
          if (wanted === 'llama' || wanted === 'mistral') {
            expect(received(wanted).body.sha256).toBe(bodyRecord(body).sha256)
          }
        }
      }
    }
  })

  it.each([
    ['without a model', audioForm(Buffer.from('RIFF'), undefined), '400 missing_model'],
    ['with an empty model', audioForm(Buffer.from('RIFF'), ''), '400 missing_model'],
    ['that ends too early', audioForm(Buffer.from('RIFF'), undefined).subarray(0, 90), '400 invalid_multipart'],
  ])('a form %s', async (_what, body, wanted) => {
    const headers = { 'content-type': 'multipart/form-data; boundary="form boundary"' }
    const response = await sendHttp1({ port: rig.port, path: '/v1/audio/transcriptions', headers, body })
    expect(outcome(response)).toBe(wanted)
  })
})

const audio = randomBytes(5000)

/** What an OpenAI client sends for a transcription; `model` comes last, and a file that looks like it before. */
function audioForm(file: Uint8Array, model: string | undefined): Buffer {
  const part = (head: string, value: string | Uint8Array) =>
    Buffer.concat([
      Buffer.from(`--form boundary\r\nContent-Disposition: form-data; ${head}\r\n\r\n`),
      Buffer.from(value),
      Buffer.from('\r\n'),
    ])
  return Buffer.concat([
    part('name="language"', 'en'),
    part('name="file"; filename="model"\r\nContent-Type: audio/wav', file),
    ...(model === undefined ? [] : [part('name="model"', model)]),
    part('name="temperature"', '0'),
    Buffer.from('--form boundary--\r\n'),
  ])
}
