import { describe, expect, it } from '@jest/globals'
import { BodyMode } from '../../src/extproc/modes.ts'
import { Observers } from '../../src/pipeline/observers.ts'
import { Family, REQUEST_FAMILIES } from '../../src/pipeline/request-families.ts'
import { RequestMetrics } from '../../src/pipeline/request-metrics.ts'
import { RequestTotals } from '../../src/pipeline/request-totals.ts'
import { RequestTracer } from '../../src/pipeline/request-trace.ts'
import { createSeriesMemory, SeriesWriter } from '../../src/telemetry/shared-series.ts'
import type { FinishedSpan } from '../../src/telemetry/span.ts'
import { ScriptedEnvoy } from '../support/ext-proc-script.ts'
import { HERMETIC, PickerRig, pod } from './picker-rig.ts'

const QUEUES = `
featureGates: [flowControl]
saturationDetector: { pluginRef: full }
`
const FULL = HERMETIC.replace(
  'plugins:\n',
  `plugins:\n- { type: concurrency-detector, name: full, parameters: { maxConcurrency: 1 } }\n`,
)

const SHEDDABLE = `
apiVersion: llm-d.ai/v1alpha2
kind: InferenceObjective
metadata: { name: sheddable }
spec: { priority: -1, poolRef: { name: pool } }
`

/** `traces` gets the spans of all requests. */
function rigWith(config: string, traces?: FinishedSpan[], more = '') {
  const memory = createSeriesMemory()
  const writer = new SeriesWriter(REQUEST_FAMILIES, memory)
  const tracer = traces && new RequestTracer({ parentBased: false, share: 1 }, spans => traces.push(...spans))
  const observers = new Observers(new RequestMetrics(writer, { tokens: false, pluginShare: 0 }), tracer)
  const rig = new PickerRig([pod(0, 0.1)], config, more, undefined, {}, observers)
  const value = (family: Family, ...labels: readonly string[]) => {
    const totals = new RequestTotals([memory])
    totals.refresh()
    const { type } = REQUEST_FAMILIES[family]!
    const found =
      type === 'histogram'
        ? totals
            .histograms(family)
            .map(({ labels, buckets }) => ({ labels, value: buckets.reduce((a, b) => a + b, 0) }))
        : totals.samples(family)
    return found.find(each => labels.every((label, i) => each.labels[i] === label))?.value ?? 0
  }
  return { rig, value }
}

const body = '{"model":"m","prompt":"words"}'
const M = ['m', 'm', 'default-flow', '0'] as const

it('what rose for a request falls when its stream is over, however it ends', () => {
  const { rig, value } = rigWith(HERMETIC)
  const open = rig.open({ body })
  const broken = rig.open({ body })
  expect([value(Family.RUNNING, ...M), value(Family.IN_FLIGHT, '192.168.1.1', 'default')]).toEqual([2, 2])
  open.respond({ ':status': '200', 'content-length': '2' }, ['{}'])
  open.close()
  broken.close()
  expect([value(Family.RUNNING, ...M), value(Family.IN_FLIGHT, '192.168.1.1', 'default')]).toEqual([0, 0])
  expect(value(Family.REQUESTS, ...M)).toBe(2)
  expect(value(Family.DURATION, ...M)).toBe(1)
  expect(value(Family.RESPONSE_BYTES, ...M)).toBe(1)
  expect(value(Family.REQUEST_BYTES, ...M)).toBe(2)
})

it('models and tenants that no engine has served take few places of those that were', () => {
  const { rig, value } = rigWith(HERMETIC)
  const ask = (model: string, status: string) => {
    const headers = { 'x-gateway-inference-fairness-id': `tenant-${model}` }
    const open = rig.open({ body: `{"model":"${model}","prompt":"words"}`, headers })
    open.respond({ ':status': status, 'content-length': '2' }, ['{}'])
    open.close()
  }
  const count = (model: string) => value(Family.REQUESTS, model, model, `tenant-${model}`)
  for (let i = 0; i < 1100; i++) ask(`junk-${i}`, '404')
  expect([count('junk-0'), count('junk-40'), count('junk-1099')]).toEqual([1, 1, 0])
  ask('real', '200')
  expect(count('real')).toBe(0)
  ask('real', '200')
  expect(count('real')).toBe(1)
  expect(value(Family.REQUESTS, 'other', 'other', 'other')).toBe(1051)
})

it('a client that leaves the queue was evicted', () => {
  const { rig, value } = rigWith(`${FULL}${QUEUES}`)
  const first = rig.open({ body })
  expect(value(Family.QUEUE_WAIT, 'default-flow', '0', 'Dispatched', 'default/pool', 'm', 'm')).toBe(1)
  const waiting = new ScriptedEnvoy(rig.service)
  const headers = [':method POST', ':path /v1/completions'].map(text => text.split(' '))
  waiting.sends({
    request: {
      case: 'requestHeaders',
      value: { headers: { headers: headers.map(([key, value]) => ({ key: key!, rawValue: Buffer.from(value!) })) } },
    },
    protocolConfig: {
      requestBodyMode: BodyMode.FULL_DUPLEX_STREAMED,
      responseBodyMode: BodyMode.FULL_DUPLEX_STREAMED,
    },
  })
  waiting.sends({ request: { case: 'requestBody', value: { body: Buffer.from(body), endOfStream: true } } })
  expect(value(Family.QUEUED, 'default-flow', '0', 'default/pool', 'm', 'm')).toBe(1)
  expect(value(Family.QUEUED_BYTES, 'default-flow', '0', 'default/pool', 'm', 'm')).toBe(body.length)
  waiting.resets()
  expect(value(Family.QUEUED, 'default-flow', '0', 'default/pool', 'm', 'm')).toBe(0)
  expect(value(Family.QUEUED_BYTES, 'default-flow', '0', 'default/pool', 'm', 'm')).toBe(0)
  expect(value(Family.QUEUE_WAIT, 'default-flow', '0', 'EvictedContextCancelled', 'default/pool', 'm', 'm')).toBe(1)
  expect(value(Family.ENQUEUE, 'default-flow', '0', 'NotYetFinalized')).toBe(1)
  first.close()
})

describe('whom an agent works for', () => {
  const AGENTS = HERMETIC.replace('plugins:\n', 'plugins:\n- { type: agent-identity }\n')
  const session = { 'x-claude-code-session-id': 'agent-7' }
  const labels = (fairnessId: string) => ['m', 'm', fairnessId, '0'] as const

  it.each([
    ['without queues', AGENTS],
    [
      'with queues',
      `${AGENTS.replace('plugins:\n', `plugins:\n- { type: concurrency-detector, name: full }\n`)}${QUEUES}`,
    ],
  ])('is told by metrics and traces as well: %s', (_, config) => {
    const traces: FinishedSpan[] = []
    const { rig, value } = rigWith(config, traces)
    for (const headers of [session, { ...session, 'x-llm-d-inference-fairness-id': 'acme' }, {}]) {
      const open = rig.open({ body, headers })
      open.respond({ ':status': '200', 'content-length': '2' }, ['{}'])
      open.close()
    }
    for (const id of ['agent-7', 'acme', 'default-flow']) {
      expect([id, value(Family.REQUESTS, ...labels(id))]).toEqual([id, 1])
      expect([id, value(Family.DURATION, ...labels(id))]).toEqual([id, 1])
    }
    const told = traces.map(({ attributes }) => attributes['signalbox.fairness_id']).filter(id => id !== undefined)
    expect(told).toEqual(['agent-7', 'acme', 'default-flow'])
  })

  it('is told of requests that wait, and of such as are refused', () => {
    const full = AGENTS.replace(
      'plugins:\n',
      `plugins:\n- { type: concurrency-detector, name: full, parameters: { maxConcurrency: 1 } }\n`,
    )
    const { rig, value } = rigWith(`${full}${QUEUES}flowControl: { maxRequests: 1 }\n`)
    const first = rig.open({ body })
    const waiting = rig.begin({ body, headers: session })
    expect(value(Family.QUEUED, 'agent-7', '0', 'default/pool', 'm', 'm')).toBe(1)
    expect(rig.send({ body, headers: session }).refusal!.status).toBe(429)
    expect(value(Family.ERRORS, ...labels('agent-7'))).toBe(1)
    waiting.close()
    first.close()
    const shed = rigWith(
      AGENTS.replace(
        'plugins:\n',
        `saturationDetector: { pluginRef: full }\nplugins:\n- { type: concurrency-detector, name: full, parameters: { maxConcurrency: 1 } }\n`,
      ),
      [],
      SHEDDABLE,
    )
    const busy = shed.rig.open({ body })
    const headers = { ...session, 'x-llm-d-inference-objective': 'sheddable' }
    expect(shed.rig.send({ body, headers }).refusal!.status).toBe(429)
    expect(shed.value(Family.ERRORS, 'm', 'm', 'agent-7', '-1')).toBe(1)
    busy.close()
  })
})
