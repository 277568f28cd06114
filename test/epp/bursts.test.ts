import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals'
import { type Answer, destination } from './picker-answer.ts'
import { PickerRig, pod } from './picker-rig.ts'
import type { Session } from './picker-session.ts'

const config = (parameters = '{}', more = '') => `
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
${more}
plugins:
- { type: burst-prefix-cache-producer, parameters: ${parameters} }
- { type: prefix-cache-scorer, parameters: { prefixMatchInfoProducerName: burst-prefix-cache-producer } }
- { type: queue-scorer }
- { type: concurrency-detector, parameters: { maxConcurrency: 1 } }
schedulingProfiles:
- name: default
  plugins: [{ pluginRef: prefix-cache-scorer, weight: 2 }, { pluginRef: queue-scorer, weight: 1 }]
`
const PODS = [pod(0, 0), pod(1, 0), pod(2, 0)]

describe('bursts of requests with the same prompt', () => {
  beforeEach(() => {
    jest.useFakeTimers()
  })
  afterEach(() => {
    jest.useRealTimers()
  })

  const send = (rig: PickerRig, prompt: string, headers: Readonly<Record<string, string>> = {}): Session =>
    rig.begin({ headers, body: JSON.stringify({ model: 'm', prompt }) })
  const places = (sessions: readonly Session[]) => sessions.map(({ answer }) => destination(answer))
  const whole = ({ answer }: Session): Answer => {
    expect(JSON.parse(answer.body)).toMatchObject({ model: 'm' })
    return answer
  }

  it('wait for each other, and go to one endpoint, whatever its load', () => {
    const rig = new PickerRig(PODS, config())
    const [first, ...others] = Array.from({ length: 8 }, (_, i) => send(rig, 'the same', { 'x-sample': String(i) }))
    jest.advanceTimersByTime(50)
    const late = [send(rig, 'something else'), send(rig, 'x'.repeat(40_000)), send(rig, 'x'.repeat(40_000))]
    jest.advanceTimersByTime(49)
    expect([first!, ...others, ...late].some(session => session.isAnswered)).toBe(false)
    expect(rig.inFlight).toBe(0)
    jest.advanceTimersByTime(1)
    const group = places([first!, ...others])
    expect(new Set(group).size).toBe(1)
    const [single, ...long] = places(late)
    // Nobody is like it: the queues decide.
    expect(single).toBe('192.168.1.1:8000')
    expect(new Set(long).size).toBe(1)
    expect(long[0]).not.toBe(group[0])
    for (const session of [first!, ...others, ...late]) whole(session)
    expect(rig.inFlight).toBe(11)
  })

  it('maxPerReplica spreads a group; a second window knows nothing of the first', () => {
    const rig = new PickerRig(PODS, config('{ maxPerReplica: 2, windowDurationMs: 10 }'))
    for (let round = 0; round < 2; round++) {
      const group = Array.from({ length: 6 }, () => send(rig, 'the same'))
      jest.advanceTimersByTime(10)
      const found = places(group)
      expect(new Set(found).size).toBe(3)
      for (const address of found) expect(found.filter(other => other === address)).toHaveLength(2)
    }
  })

  it('streams that end while they wait leave nothing behind, and the others undisturbed', () => {
    const rig = new PickerRig(PODS, config())
    const [a, b, c] = [send(rig, 'the same'), send(rig, 'the same'), send(rig, 'the same')]
    b.close()
    expect(rig.service.openExchanges).toBe(2)
    jest.advanceTimersByTime(100)
    expect(new Set(places([a, c])).size).toBe(1)
    expect([rig.inFlight, b.isAnswered]).toEqual([2, false])
    for (const session of [a, c]) {
      session.respond({ ':status': '200' }, ['{}'])
      session.close()
    }
    expect([rig.inFlight, rig.service.openExchanges, rig.service.heldBytes]).toEqual([0, 0, 0])
    // All of a window.
    const gone = send(rig, 'the same')
    gone.close()
    jest.advanceTimersByTime(50)
    const next = [send(rig, 'the same'), send(rig, 'the same')]
    jest.advanceTimersByTime(99)
    expect(next.some(session => session.isAnswered)).toBe(false)
    jest.advanceTimersByTime(1)
    expect(new Set(places(next)).size).toBe(1)
  })

  it('nobody waits who has no prompt, too little time, or too many before it', () => {
    const rig = new PickerRig(PODS, config('{ maxBatchSize: 1 }'))
    expect(rig.begin({ path: '/v1/models/m' }).isAnswered).toBe(true)
    expect(rig.begin({ path: '/tokenize', body: '{"model":"m"}' }).isAnswered).toBe(true)
    expect(send(rig, 'the same', { 'x-envoy-expected-rq-timeout-ms': '99' }).isAnswered).toBe(true)
    expect(send(rig, 'the same', { 'x-envoy-expected-rq-timeout-ms': '100' }).isAnswered).toBe(false)
    expect(send(rig, 'the same').isAnswered).toBe(true)
    expect(new PickerRig([pod(0, 0)], config()).send({ body: '{"model":"m","prompt":"x"}' }).refusal).toBeUndefined()
  })

  it('an endpoint that goes meanwhile costs the place, and no request', () => {
    const rig = new PickerRig(PODS, config())
    const group = [send(rig, 'the same'), send(rig, 'the same')]
    jest.advanceTimersByTime(100)
    const [place] = places(group)
    const more = [send(rig, 'the same'), send(rig, 'the same')]
    const pools = rig.compiled.pools.map(pool => ({
      ...pool,
      endpoints: pool.endpoints.filter(({ address }) => address !== place),
    }))
    rig.plan.update({ ...rig.compiled, pools, version: 'next' })
    jest.advanceTimersByTime(100)
    for (const found of places(more)) expect([200, place]).not.toContain(found)
    for (const session of more) whole(session)
  })

  it('wait on under a new configuration, which may have no bursts', () => {
    const rig = new PickerRig(PODS, config())
    const group = [send(rig, 'the same'), send(rig, 'the same')]
    const pools = rig.compiled.pools.map(pool => {
      const { bursts: _bursts, ...scheduling } = pool.scheduling
      return { ...pool, scheduling }
    })
    rig.plan.update({ ...rig.compiled, pools, version: 'next' })
    expect(send(rig, 'the same').isAnswered).toBe(true)
    jest.advanceTimersByTime(100)
    for (const session of group) expect(whole(session).refusal).toBeUndefined()
  })

  it('with flow control they enter the queue when they have met', () => {
    const flow =
      'featureGates: [flowControl]\nflowControl: { saturationDetector: { pluginRef: concurrency-detector }, defaultRequestTTL: 1s }'
    const rig = new PickerRig(PODS, config('{}', flow))
    const group = Array.from({ length: 5 }, () => send(rig, 'the same'))
    jest.advanceTimersByTime(100)
    // Three endpoints take one each: what is over waits, and is refused in its time.
    expect(group.filter(session => session.isAnswered)).toHaveLength(3)
    jest.advanceTimersByTime(5000)
    const refused = group.filter(({ answer }) => answer.refusal?.status === 429)
    expect(refused).toHaveLength(2)
  })
})
