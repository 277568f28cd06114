import { describe, expect, it } from '@jest/globals'
import { BodyMode } from '../../src/extproc/modes.ts'
import { Observers } from '../../src/pipeline/observers.ts'
import { Family, REQUEST_FAMILIES } from '../../src/pipeline/request-families.ts'
import { RequestMetrics } from '../../src/pipeline/request-metrics.ts'
import { RequestTotals } from '../../src/pipeline/request-totals.ts'
import { createSeriesMemory, SeriesWriter } from '../../src/telemetry/shared-series.ts'
import { ScriptedEnvoy } from '../support/ext-proc-script.ts'
import { destination, endpointsOf } from './picker-answer.ts'
import { address, HERMETIC, PickerRig, pod } from './picker-rig.ts'

const PODS = [pod(0, 0), pod(0, 0)]
const REQUEST = '{"model":"asked","prompt":"x"}'
const OK = { ':status': '200', 'content-type': 'application/json' }
const STREAM = { ':status': '200', 'content-type': 'text/event-stream' }
const TO_TARGET = { 'x-llm-d-model-name-rewrite': 'target' }

describe('hermetic responses (epp.md §8.1)', () => {
  it.each([
    ['H16: JSON in two chunks', OK, ['{"model":"x","usage":', '{"prompt_tokens":1}}']],
    ['H17: what is no JSON', OK, ['{malformed']],
    ['H18: an empty last chunk', OK, ['{"a":1}', '']],
    ['H19: a stream', STREAM, ['data: {"a":1}\n\n', 'data: {"usage":{"prompt_tokens":7}}\n\ndata: [DONE]\n\n']],
  ])('%s arrives as it was, each chunk at once', (_name, headers, chunks) => {
    const rig = new PickerRig(PODS)
    for (const headersOfRequest of [{}, TO_TARGET]) {
      const response = rig.open({ headers: headersOfRequest, body: REQUEST }).respond(headers, chunks)
      expect(response).toMatchObject({ pieces: chunks, ended: true })
      expect(rig.inFlight).toBe(0)
    }
  })
})

it('H19: a response whose request was never seen passes, each chunk at once; nothing is counted of it', () => {
  const memory = createSeriesMemory()
  const writer = new SeriesWriter(REQUEST_FAMILIES, memory)
  const observers = new Observers(new RequestMetrics(writer, { tokens: true, pluginShare: 1 }), undefined)
  const rig = new PickerRig(PODS, HERMETIC, '', undefined, {}, observers)
  const envoy = new ScriptedEnvoy(rig.service)
  const headers = Object.entries(STREAM).map(([key, value]) => ({ key, rawValue: Buffer.from(value) }))
  envoy.sends({
    request: { case: 'responseHeaders', value: { headers: { headers } } },
    protocolConfig: {
      requestBodyMode: BodyMode.FULL_DUPLEX_STREAMED,
      responseBodyMode: BodyMode.FULL_DUPLEX_STREAMED,
    },
  })
  expect(envoy.receives().map(({ response }) => response.case)).toEqual(['responseHeaders'])
  for (const [i, chunk] of ['data: {"usage":{"prompt_tokens":7}}\n\n', 'data: [DONE]\n\n'].entries()) {
    envoy.sends({ request: { case: 'responseBody', value: { body: Buffer.from(chunk), endOfStream: i === 1 } } })
    const [answer, ...others] = envoy.receives()
    expect(others).toEqual([])
    const mutation = answer!.response.case === 'responseBody' && answer!.response.value.response?.bodyMutation?.mutation
    if (mutation === false || mutation?.case !== 'streamedResponse') throw new Error('the chunk does not come back')
    expect([Buffer.from(mutation.value.body).toString(), mutation.value.endOfStream]).toEqual([chunk, i === 1])
  }
  envoy.resets()
  const totals = new RequestTotals([memory])
  totals.refresh()
  expect([totals.samples(Family.REQUESTS), totals.histograms(Family.INPUT_TOKENS)]).toEqual([[], []])
  expect(rig.inFlight).toBe(0)
})

describe('the model of responses (epp.md §8.4)', () => {
  const respond = (headers: Readonly<Record<string, string>>, chunks: readonly string[], mode?: BodyMode) =>
    new PickerRig(PODS).open({ headers: TO_TARGET, body: REQUEST }, mode).respond(headers, chunks).pieces.join('')

  it.each([BodyMode.FULL_DUPLEX_STREAMED, BodyMode.STREAMED, BodyMode.BUFFERED])(
    'is the one that was asked for, in mode %i',
    mode => {
      expect(respond(OK, ['{"id":1,"model": "target","text":"\\"model\\":\\"target\\""}'], mode)).toBe(
        '{"id":1,"model": "asked","text":"\\"model\\":\\"target\\""}',
      )
      if (mode === BodyMode.BUFFERED) return
      expect(respond(STREAM, ['data: {"model":"target"}\n\n', 'data: [DONE]\n\n'], mode)).toBe(
        'data: {"model":"asked"}\n\ndata: [DONE]\n\n',
      )
    },
  )

  it('also where chunks cut it', () => {
    expect(respond(OK, ['{"model":"tar', 'get","x":1}'])).toBe('{"model":"asked","x":1}')
    expect(respond(STREAM, ['data: {"mo', 'del":"target"}\n', '\n'])).toBe('data: {"model":"asked"}\n\n')
    const session = new PickerRig(PODS).open({ headers: TO_TARGET, body: REQUEST })
    const { pieces, trailers } = session.respond(STREAM, ['data: {"model":"target"}'], { trailers: true })
    expect([pieces.join(''), trailers]).toEqual(['data: {"model":"asked"}', true])
  })

  it('stays in compressed bodies and other types', () => {
    const text = '{"model":"target"}'
    expect(respond({ ...OK, 'content-encoding': 'gzip' }, [text])).toBe(text)
    expect(respond({ ':status': '200', 'content-type': 'text/plain' }, [text])).toBe(text)
  })

  it('stays where nothing was rewritten', () => {
    const { pieces } = new PickerRig(PODS).open({ body: REQUEST }).respond(OK, ['{"model":"target"}'])
    expect(pieces).toEqual(['{"model":"target"}'])
  })
})

describe('served feedback (epp.md §1.1)', () => {
  const served = (value: string) => ({ metadata: { 'envoy.lb': { 'x-gateway-destination-endpoint-served': value } } })
  const LIST = HERMETIC.replace(
    '- type: max-score-picker',
    '- type: max-score-picker\n  parameters: { maxNumOfEndpoints: 2 }',
  )

  it('an endpoint that a retry had to leave is avoided for a while', () => {
    const rig = new PickerRig(PODS, LIST)
    const session = rig.open({ body: REQUEST })
    const [first, second] = endpointsOf(session.answer)
    session.respond(OK, ['{}'], served(second!))
    expect(rig.inFlight).toBe(0)
    for (let i = 0; i < 10; i++) expect(destination(rig.send({ body: REQUEST }))).toBe(second)
    rig.now += 6000
    const seen = new Set(Array.from({ length: 20 }, () => destination(rig.send({ body: REQUEST }))))
    expect(seen).toContain(first)
  })

  it('an endpoint that served stays', () => {
    const rig = new PickerRig(PODS, LIST)
    for (let i = 0; i < 10; i++) {
      const session = rig.open({ body: REQUEST })
      const list = endpointsOf(session.answer)
      expect(list.toSorted()).toEqual([address(0), address(1)])
      session.respond(OK, ['{}'], served(list[0]!))
    }
  })

  it.each(['', 'nobody', '10.9.9.9:1', ','.repeat(20_000)])('nonsense is ignored: %#', value => {
    const rig = new PickerRig(PODS, LIST)
    rig.open({ body: REQUEST }).respond(OK, ['{}'], served(value))
    expect(endpointsOf(rig.send({ body: REQUEST }))).toHaveLength(2)
  })
})

describe('destination-endpoint-served-verifier (epp.md §1.9)', () => {
  const HEADER = 'x-conformance-test-served-endpoint'
  const served = { 'envoy.lb': { 'x-gateway-destination-endpoint-served': address(1) } }
  const VERIFIER = `${HERMETIC}- type: destination-endpoint-served-verifier\n`
  const respond = (config: string, headers = OK, metadata: typeof served | Record<string, never> = served) =>
    new PickerRig(PODS, config).open({ body: REQUEST }).respond(headers, ['{}'], { metadata }).set[HEADER]

  it('tells in the response which endpoint has served, by what the gateway says', () => {
    expect(respond(VERIFIER)).toBe(address(1))
    expect(respond(HERMETIC)).toBeUndefined()
  })

  it('of a gateway that says nothing leaves what the server has echoed, and else says so', () => {
    const echoed = { ...OK, [HEADER]: address(0) }
    expect(respond(VERIFIER, echoed, {})).toBeUndefined()
    expect(respond(VERIFIER, echoed)).toBe(address(1))
    expect(respond(VERIFIER, OK, {})).toMatch(/^fail: /)
    const { answer } = new PickerRig(PODS, VERIFIER).open({ body: REQUEST })
    expect(answer.set['x-echo-set-header']).toBe(`${HEADER}:${String(destination(answer))}`)
  })
})
