import { describe, expect, it } from '@jest/globals'
import { MAX_METADATA_STRINGS } from '../../src/extproc/metadata.ts'
import { type Answer, destination, endpointsOf } from './picker-answer.ts'
import { address, HERMETIC, PickerRig, pod, type PodState } from './picker-rig.ts'
import { subset } from './picker-session.ts'

const REASON = 'x-llm-d-request-dropped-reason'
const OBJECTIVE = { 'x-llm-d-inference-objective': 'nobody-knows-it' }
const body = (model: string | undefined, prompt = 'test') =>
  `{"max_tokens":100,${model === undefined ? '' : `"model":"${model}",`}"prompt":"${prompt}","temperature":0}`
const THREE: readonly PodState[] = [pod(3, 0.2), pod(0, 0.1), pod(10, 0.2)]
const headers = { hi: 'mom', 'x-request-id': 'test-request-id', ...OBJECTIVE }

function errorOf({ refusal }: Answer): { readonly code: string; readonly message: string; readonly type: string } {
  expect(refusal?.headers['content-type']).toBe('application/json')
  const { error } = JSON.parse(refusal!.body) as { error: { code: string; message: string; type: string } }
  expect([typeof error.code, typeof error.message, typeof error.type]).toEqual(['string', 'string', 'string'])
  return error
}

describe('hermetic requests (epp.md §8.1)', () => {
  it('H1, H15: the endpoint in header and metadata, the rewritten model in the body and its length', () => {
    const rig = new PickerRig(THREE)
    const sent = body('asked')
    const rewritten = body('rewritten-model')
    const answer = rig.send({
      headers: { ...headers, 'x-llm-d-model-name-rewrite': 'rewritten-model', 'content-length': String(sent.length) },
      body: sent,
    })
    expect(destination(answer)).toBe(address(1))
    expect(answer.clearRouteCache).toBe(true)
    expect(answer.body).toBe(rewritten)
    expect(answer.set['content-length']).toBe(String(rewritten.length))
    // Ours: what did not change is not sent back.
    expect(answer.set).not.toHaveProperty('hi')
  })

  it.each([
    ['H2: an active adapter', [pod(0, 0.2, 'foo', 'bar'), pod(0, 0.1, 'foo', 'target'), pod(10, 0.2, 'foo', 'bar')], 1],
    [
      'H3: adapters outweigh the cache',
      [pod(10, 0.2, 'foo', 'bar'), pod(10, 0.4, 'foo', 'target'), pod(10, 0.3, 'foo')],
      1,
    ],
    [
      'H4: default criticality is not shed',
      [pod(6, 0.2, 'foo', 'target'), pod(0, 0.85, 'foo'), pod(10, 0.9, 'foo')],
      0,
    ],
  ] as const)('%s', (_name, pods, expected) => {
    expect(destination(new PickerRig(pods).send({ headers, body: body('target') }))).toBe(address(expected))
  })

  it.each([1, 3, 10])('H6: a body in chunks of %i bytes', size => {
    const sent = body('asked')
    const chunks = sent.match(new RegExp(`.{1,${size}}`, 'gs'))!
    const answer = new PickerRig(THREE).send({ headers, body: chunks })
    expect(destination(answer)).toBe(address(1))
    expect(answer.body).toBe(sent)
  })

  it('H5: a body that is no JSON', () => {
    const answer = new PickerRig(THREE).send({ headers, body: 'no healthy upstream' })
    expect(destination(answer)).toBe(400)
    expect(errorOf(answer).code).toBe('invalid_json')
    expect(answer.refusal!.headers).not.toHaveProperty(REASON)
  })

  it('H7: no endpoints and no body: 503, as the protocol says (llm-d: 500)', () => {
    const answer = new PickerRig([]).send({ headers })
    expect(destination(answer)).toBe(503)
    expect(answer.refusal!.headers[REASON]).toBe('rejected-no-endpoints')
    expect(errorOf(answer).code).toBe('no_endpoints')
  })

  it('H8: a GET goes to some endpoint, and obeys the plug-ins', () => {
    const answer = new PickerRig(THREE).send({ path: '/version' })
    expect(destination(answer)).toBe(address(1))
    expect(answer.set).not.toHaveProperty('content-length')
    expect(endpointsOf(new PickerRig(THREE).send({ path: '/x', metadata: subset([address(2)]) }))).toEqual([address(2)])
  })

  it('H9: no model', () => {
    const answer = new PickerRig(THREE).send({ headers, body: body(undefined) })
    expect([destination(answer), errorOf(answer).code]).toEqual([400, 'missing_model'])
  })

  it('H13: what is no JSON goes through unchanged where the path is nobody’s', () => {
    const sent = 'no { JSON \u0000 at all'
    const answer = new PickerRig(THREE).send({ path: '/upload', headers, body: sent })
    expect([destination(answer), answer.body]).toEqual([address(1), sent])
    const explicit = `${HERMETIC}- type: passthrough-parser\nrequestHandler: { parsers: [{ pluginRef: passthrough-parser }] }\n`
    const all = new PickerRig(THREE, explicit).send({ headers, body: sent })
    expect([destination(all), all.body]).toEqual([address(1), sent])
  })

  it('H14: an objective that there is not', () => {
    expect(destination(new PickerRig(THREE).send({ headers: OBJECTIVE, body: body('m') }))).toBe(address(1))
  })

  it('H15: InferenceModelRewrite, and the header beats it', () => {
    const rewrite = `
apiVersion: inference.networking.x-k8s.io/v1alpha2
kind: InferenceModelRewrite
metadata: { name: rewrite }
spec:
  poolRef: { group: inference.networking.k8s.io, kind: InferencePool, name: pool }
  rules:
  - matches: [{ model: { type: Exact, value: model-to-be-rewritten } }]
    targets: [{ modelRewrite: rewritten-model }]
`
    const rig = new PickerRig(THREE, HERMETIC, rewrite)
    const sent = body('model-to-be-rewritten')
    const answer = rig.send({ headers: { 'content-length': String(sent.length) }, body: sent })
    expect(answer.body).toBe(body('rewritten-model'))
    expect(answer.set['content-length']).toBe(String(answer.body.length))
    for (const name of ['x-llm-d-model-name-rewrite', 'x-gateway-model-name-rewrite'])
      expect(rig.send({ headers: { [name]: 'by-header' }, body: sent }).body).toBe(body('by-header'))
  })

  it('H20: gRPC with trailers', () => {
    const frame = Buffer.from([0, 0, 0, 0, 3, 8, 1, 16]).toString('latin1')
    const rig = new PickerRig(THREE)
    const session = rig.open({
      path: '/vllm.grpc.engine.VllmEngine/Generate',
      headers: { 'content-type': 'application/grpc', te: 'trailers' },
      body: [frame, frame],
      trailers: true,
    })
    expect(destination(session.answer)).toBe(address(1))
    expect(session.answer.body).toBe(frame + frame)
    const response = session.respond({ ':status': '200', 'content-type': 'application/grpc' }, ['a', 'b'], {
      trailers: true,
    })
    expect(response).toMatchObject({ pieces: ['a', 'b'], ended: false, trailers: true })
    expect(rig.inFlight).toBe(0)
  })
})

describe('the subset hint (epp.md §1.8, §8.1 H10–H12, §8.2)', () => {
  const send = (metadata: ReturnType<typeof subset> | undefined, bodyMetadata?: ReturnType<typeof subset>) =>
    new PickerRig(THREE).send({
      headers,
      body: body('m'),
      ...(metadata === undefined ? {} : { metadata }),
      ...(bodyMetadata === undefined ? {} : { bodyMetadata }),
    })

  it.each([
    ['none', undefined, address(1)],
    ['another namespace', { 'envoy.lb': { 'x-gateway-destination-endpoint-subset': [address(0)] } }, address(1)],
    ['another key', { 'envoy.lb.subset_hint': { other: [address(0)] } }, address(1)],
    ['H10: all', subset([address(0), address(1), address(2)]), address(1)],
    ['H11: one, and a worse one', subset([address(2)]), address(2)],
    ['H12: nobody', subset(['10.9.9.9:8000']), 503],
    ['an empty list', subset([]), 503],
    ['an empty text', subset(''), 503],
    ['what is no list', subset(7), 503],
    ['an entry that is no text', subset([address(0), 12345]), address(0)],
    ['a text', subset(`${address(0)}, ${address(2)}`), address(0)],
    ['an entry without a port', subset(['192.168.1.3']), address(2)],
    ['ours: another port', subset(['192.168.1.3:8001']), 503],
    ['some unknown ones', subset(['10.9.9.9:1', address(0)]), address(0)],
  ])('%s', (_name, metadata, expected) => {
    const answer = send(metadata)
    expect(destination(answer)).toBe(expected)
    if (expected === 503) expect(answer.refusal!.headers[REASON]).toBe('rejected-no-endpoints')
  })

  it('is taken from body messages too', () => {
    expect(destination(send(undefined, subset([address(2)])))).toBe(address(2))
  })

  it('is refused when it is longer than any pool', () => {
    const list = Array.from({ length: MAX_METADATA_STRINGS }, (_, i) => `10.${i >> 8}.${i & 255}.1:1`)
    expect(destination(send(subset([...list.slice(1), address(0)])))).toBe(address(0))
    for (const value of [[...list, address(0)], [...list, address(0)].join(',')]) {
      const answer = send(subset(value))
      expect([destination(answer), errorOf(answer).code]).toEqual([503, 'subset_too_large'])
    }
    // A third of a million entries in one message of less than a mebibyte.
    expect(destination(send(subset('1,'.repeat(330_000))))).toBe(503)
  })
})

describe('requests as gateways send them', () => {
  it('orders the fallbacks by their scores', () => {
    const list = HERMETIC.replace('max-score-picker', 'max-score-picker\n  parameters: { maxNumOfEndpoints: 3 }')
    const answer = new PickerRig(THREE, list).send({ body: body('m') })
    expect(endpointsOf(answer)).toEqual([address(1), address(0), address(2)])
    expect(endpointsOf(new PickerRig(THREE).send({ body: body('m') }))).toEqual([address(1)])
  })

  it('no parser for a path: 400', () => {
    const config = `${HERMETIC}- type: openai-parser\nrequestHandler: { parsers: [{ pluginRef: openai-parser }] }\n`
    const answer = new PickerRig(THREE, config).send({ path: '/unknown/path', body: '{"model":"m"}' })
    expect([destination(answer), errorOf(answer).code]).toEqual([400, 'no_parser'])
    expect(destination(new PickerRig(THREE, config).send({ path: '/unknown/path' }))).toBe(address(1))
  })
})

describe('what clients may not say (epp.md §1.7)', () => {
  it('is replaced or removed', () => {
    const forged = {
      'x-gateway-destination-endpoint': '169.254.169.254:80',
      'x-gateway-destination-endpoint-subset': address(2),
      'x-prefiller-host-port': '169.254.169.254:80',
      'x-data-parallel-host-port': '169.254.169.254:80',
    }
    const answer = new PickerRig(THREE).send({ headers: forged, body: body('m') })
    expect(destination(answer)).toBe(address(1))
    expect(answer.removed).toEqual(expect.arrayContaining(['x-prefiller-host-port', 'x-data-parallel-host-port']))
    expect(new PickerRig(THREE).send({ body: body('m') }).removed).toEqual([])
  })
})

describe('conditional decode (epp.md §1.4)', () => {
  it('412 unless the chosen endpoint has the beginning of the prompt', () => {
    const rig = new PickerRig([pod(0, 0), pod(0, 0)])
    const long = body('m', 'once upon a time '.repeat(100))
    const prefer = { prefer: 'if-available' }
    const refused = rig.send({ headers: prefer, body: long })
    expect([destination(refused), errorOf(refused).code]).toEqual([412, 'not_cached'])
    expect(rig.inFlight).toBe(0)
    const home = destination(rig.send({ body: long }))
    expect(destination(rig.send({ headers: prefer, body: long }))).toBe(home)
    expect(destination(rig.send({ headers: prefer, body: body('m', 'another '.repeat(200)) }))).toBe(412)
  })
})
