import { describe, expect, it } from '@jest/globals'
import { endpointsOf } from './picker-answer.ts'
import { PickerRig, pod } from './picker-rig.ts'

const PODS = [pod(0, 0), pod(0, 0)]
const REQUEST = { body: '{"model":"m","prompt":"x"}' }
const OK = { ':status': '200', 'content-type': 'application/json' }
const REASON = 'x-llm-d-request-dropped-reason'

const limited = (annotations: Readonly<Record<string, string>>) =>
  new PickerRig(PODS, undefined, undefined, undefined, annotations)

describe('limits of a pool', () => {
  it('are so many requests on their way, whichever endpoint has them', () => {
    const rig = limited({ 'signalbox.dev/max-in-flight': '3' })
    const sessions = [1, 2, 3].map(() => rig.open(REQUEST))
    for (const { answer } of sessions) expect(endpointsOf(answer)).not.toEqual([])
    for (const call of [REQUEST, {}]) {
      const { refusal } = rig.send(call)
      expect(refusal?.status).toBe(429)
      expect(refusal?.headers[REASON]).toBe('rejected-saturated')
      expect(JSON.parse(refusal?.body ?? '')).toMatchObject({ error: { code: 'pool_full', type: 'rate_limit_error' } })
    }
    expect(rig.inFlight).toBe(3)
    // One is over, so one may come.
    sessions[0]!.respond(OK, ['{}'])
    expect(rig.open(REQUEST).answer.refusal).toBeUndefined()
    expect(rig.open(REQUEST).answer.refusal?.status).toBe(429)
  })

  it('are so many bytes of bodies that are held', () => {
    const rig = limited({ 'signalbox.dev/max-held-bytes': '2k' })
    // Undecided until its last piece: the model comes at the end.
    const body = (bytes: number) => JSON.stringify({ prompt: 'x'.repeat(bytes), model: 'm' }).match(/.{1,400}/g)!
    // What was held is given back: each of them would fit but once.
    for (let i = 0; i < 5; i++) expect(rig.open({ body: body(1500) }).answer.refusal).toBeUndefined()
    for (let i = 0; i < 2; i++) {
      const { refusal } = rig.send({ body: body(2500) })
      expect([refusal?.status, refusal?.headers[REASON]]).toEqual([503, 'rejected-saturated'])
      expect(JSON.parse(refusal?.body ?? '')).toMatchObject({ error: { code: 'overloaded' } })
    }
    expect(rig.open({ body: body(1900) }).answer.refusal).toBeUndefined()
    expect(limited({}).send({ body: body(2500) }).refusal).toBeUndefined()
  })
})
