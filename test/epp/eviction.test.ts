import { describe, expect, it } from '@jest/globals'
import { BodyMode } from '../../src/extproc/modes.ts'
import type { ProcessingResponse } from '../../src/gen/envoy/service/ext_proc/v3/external_processor_pb.ts'
import { ScriptedEnvoy } from '../support/ext-proc-script.ts'
import { waitFor } from '../support/wait-for.ts'
import { PickerRig, pod } from './picker-rig.ts'

const PODS = [pod(0, 0), pod(0, 0)]
const OK = { ':status': '200', 'content-type': 'text/event-stream' }
const OBJECTIVE = 'x-llm-d-inference-objective'

/** Each endpoint takes two requests. */
const config = (spec = 'enableEviction: true') => `
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
featureGates: [flowControl]
plugins:
- { type: concurrency-detector, parameters: { maxConcurrency: 2 } }
- { type: queue-scorer }
schedulingProfiles:
- { name: default, plugins: [{ pluginRef: queue-scorer }] }
flowControl: { saturationDetector: { pluginRef: concurrency-detector }, ${spec} }
`
const OBJECTIVES = ['urgent', 'batch', 'junk']
  .map(
    name => `
apiVersion: llm-d.ai/v1alpha2
kind: InferenceObjective
metadata: { name: ${name} }
spec: { priority: ${{ urgent: 5, batch: -1, junk: -2 }[name]}, poolRef: { name: pool } }`,
  )
  .join('\n---')

const headersOf = (headers: Readonly<Record<string, string>>) => ({
  headers: { headers: Object.entries(headers).map(([key, value]) => ({ key, rawValue: Buffer.from(value) })) },
})

/** A request on its stream, which may wait. */
class Request {
  readonly envoy: ScriptedEnvoy
  readonly received: ProcessingResponse[] = []

  constructor(rig: PickerRig, objective: string | undefined) {
    this.envoy = new ScriptedEnvoy(rig.service)
    const headers = { ':method': 'POST', ':path': '/v1/completions' }
    const value = headersOf(objective === undefined ? headers : { ...headers, [OBJECTIVE]: objective })
    this.envoy.sends({
      request: { case: 'requestHeaders', value },
      protocolConfig: {
        requestBodyMode: BodyMode.FULL_DUPLEX_STREAMED,
        responseBodyMode: BodyMode.FULL_DUPLEX_STREAMED,
      },
    })
    const body = Buffer.from('{"model":"m","prompt":"x"}')
    this.envoy.sends({ request: { case: 'requestBody', value: { body, endOfStream: true } } })
  }

  /** What was answered since the last call. */
  get words(): (string | undefined)[] {
    const messages = this.envoy.receives()
    this.received.push(...messages)
    return messages.map(({ response }) => response.case)
  }

  responds(): void {
    this.envoy.sends({ request: { case: 'responseHeaders', value: headersOf(OK) } })
    expect(this.words).toEqual(['responseHeaders'])
  }

  event(text: string, endOfStream = false): void {
    this.envoy.sends({
      request: { case: 'responseBody', value: { body: Buffer.from(`data: ${text}\n\n`), endOfStream } },
    })
    expect(this.words).toEqual(['responseBody'])
  }

  get over(): boolean {
    return this.envoy.stream.ended !== undefined
  }
}

const SENT = ['requestHeaders', 'requestBody']

class Play {
  readonly rig: PickerRig

  constructor(spec?: string) {
    this.rig = new PickerRig(PODS, config(spec), OBJECTIVES)
  }

  open(...objectives: readonly (string | undefined)[]): Request[] {
    const requests = objectives.map(objective => new Request(this.rig, objective))
    for (const request of requests) expect(request.words).toEqual(SENT)
    return requests
  }

  wait(objective: string): Request {
    const request = new Request(this.rig, objective)
    expect(request.words).toEqual([])
    return request
  }

  get figures() {
    return this.rig.plan.pools.get('default/pool')!.flowFigures(Date.now())!
  }
}

const goesOn = async (request: Request) => {
  await waitFor('it to go on', () => request.envoy.stream.sent.length > 0)
  expect(request.words).toEqual(SENT)
}

describe('eviction of requests in flight', () => {
  it('the first victim gets 429 with the reason, and its place goes to who waits', async () => {
    const play = new Play()
    const held = play.open(undefined, 'batch', 'junk', 'batch')
    const urgent = play.wait('urgent')
    await goesOn(urgent)
    expect(held.map(({ words }) => words)).toEqual([[], [], ['immediateResponse'], []])
    const { response } = held[2]!.received.at(-1)!
    if (response.case !== 'immediateResponse') throw new Error(response.case)
    expect(response.value.status?.code).toBe(429)
    const headers = Object.fromEntries(
      response.value.headers!.setHeaders.map(({ header }) => [header!.key, Buffer.from(header!.rawValue).toString()]),
    )
    expect(headers).toMatchObject({ 'x-llm-d-request-dropped-reason': 'evicted', 'retry-after': '1' })
    expect(headers).not.toHaveProperty('x-gateway-destination-endpoint')
    expect(JSON.parse(Buffer.from(response.value.body).toString())).toMatchObject({
      error: { code: 'evicted', type: 'rate_limit_error' },
    })
    expect(held.map(({ over }) => over)).toEqual([false, false, true, false])
    expect(play.rig.inFlight).toBe(4)
    expect(play.figures.revocations).toMatchObject({ confirmed: 1, timedOut: 0 })
    expect(play.rig.outcomes.refusedWith.get('evicted')).toBe(1)
    for (const request of [...held, urgent]) {
      if (request.over) continue
      request.responds()
      request.envoy.resets()
    }
    expect(play.rig.inFlight).toBe(0)
    expect([...held, urgent].map(({ envoy }) => envoy.stream.late)).toEqual([0, 0, 0, 0, 0])
  })

  it('also in the middle of a response, but not behind its end', async () => {
    const play = new Play()
    const held = play.open('batch', 'junk', 'batch', 'batch')
    for (const request of held) request.responds()
    held[3]!.event('1')
    // Over, while the gateway keeps the stream.
    held[1]!.event('[DONE]', true)
    expect(play.rig.inFlight).toBe(3)
    play.open(undefined)
    const urgent = play.wait('urgent')
    await goesOn(urgent)
    expect(held.map(({ words }) => words)).toEqual([[], [], [], ['immediateResponse']])
    expect(play.rig.inFlight).toBe(4)
  })

  it('nothing is called back where the configuration does not say so', async () => {
    const play = new Play('enableEviction: false')
    const held = play.open('junk', 'junk', 'junk', 'junk')
    const urgent = play.wait('urgent')
    for (let i = 0; i < 20; i++) await new Promise(resolve => setImmediate(resolve))
    expect([...held, urgent].map(({ words }) => words)).toEqual([[], [], [], [], []])
    expect(play.figures.revocations).toBeUndefined()
    held[0]!.responds()
    held[0]!.event('[DONE]', true)
    await goesOn(urgent)
  })
})
