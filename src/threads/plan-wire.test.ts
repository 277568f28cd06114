import { describe, expect, it } from '@jest/globals'
import type { EndpointPlan } from '../inference/pool-plan.ts'
import { PlanKeeper } from '../pipeline/plan-keeper.ts'
import type { PlanShare } from '../pipeline/plan-share.ts'
import type { Plan } from '../pipeline/plan.ts'
import { poolPlan } from '../inference/testing.ts'
import { type PlanWire, PlanReceiver, PlanSender } from './plan-wire.ts'

class Wire {
  readonly keeper = new PlanKeeper({ releaseBy: 'response', threads: 2 })
  readonly sender = new PlanSender()
  readonly receiver = new PlanReceiver()
  sent!: PlanWire
  #version = 0

  /** What the main thread shares, and what the worker gets of it. */
  run(pools: Readonly<Record<string, readonly EndpointPlan[]>>) {
    const plans = Object.entries(pools).map(([name, endpoints]) => ({ ...poolPlan([]), name, endpoints }))
    const plan = { version: '1', routing: { baseModels: {} }, entries: [], pools: plans } as unknown as Plan
    this.keeper.update(plan, { version: ++this.#version, adopted: this.#version - 1 })
    const share = this.keeper.share()!
    this.sent = this.sender.pack(share)
    return { share: sorted(share), received: sorted(this.receiver.unpack(structuredClone(this.sent))) }
  }
}

/** Without shared memory, which goes by reference, and in an order. */
function sorted({ plan, pools }: PlanShare) {
  return {
    plan,
    pools: pools.map(({ plan: { endpoints, ...others }, slots, models }) => ({
      plan: others,
      models,
      endpoints: [...endpoints].sort((a, b) => (a.address < b.address ? -1 : 1)),
      slots: [...slots].sort((a, b) => a.slot - b.slot),
    })),
  }
}

const endpoint = (port: number, role = 'both'): EndpointPlan => ({
  address: `10.0.0.1:${port}`,
  labels: { role },
  pod: `pod-${port}`,
})
const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => endpoint(from + i))

describe('plans on the wire', () => {
  it.each([
    ['endpoints come and go', { a: range(0, 5) }, { a: range(3, 9) }],
    ['one returns', { a: range(0, 2) }, { a: range(1, 2) }, { a: range(0, 2) }],
    ['labels change', { a: [endpoint(1)] }, { a: [endpoint(1, 'decode')] }],
    ['a label goes', { a: [endpoint(1)] }, { a: [{ ...endpoint(1), labels: {} }] }],
    [
      'pools come and go',
      { a: range(0, 2) },
      { a: range(0, 2), b: range(5, 7) },
      { b: range(5, 7) },
      { a: range(0, 1) },
    ],
    ['all go', { a: range(0, 3) }, { a: [] }, {}],
  ])('are the same at their other end: %s', (_, ...steps) => {
    const wire = new Wire()
    for (const step of steps) {
      const { share, received } = wire.run(step as Readonly<Record<string, readonly EndpointPlan[]>>)
      expect(received).toEqual(share)
    }
  })

  it('carry what has changed, and nothing else', () => {
    const wire = new Wire()
    wire.run({ a: range(0, 1000) })
    const { share, received } = wire.run({ a: range(1, 1001) })
    expect(received).toEqual(share)
    const { endpoints, slots } = wire.sent.pools[0]!
    expect(endpoints).toEqual({ gone: ['10.0.0.1:0'], changed: [endpoint(1000)] })
    expect([slots.gone.length, slots.changed.length]).toEqual([1, 1])
    // With new objects of the same content.
    wire.run({ a: range(1, 1001) })
    expect(wire.sent.pools[0]).toMatchObject({ endpoints: { gone: [], changed: [] }, slots: { gone: [], changed: [] } })
  })

  it('carry memory once', () => {
    const wire = new Wire()
    wire.run({ a: range(0, 2) })
    expect(wire.sent.pools[0]!.table).not.toBe('known')
    wire.run({ a: range(0, 3) })
    expect(wire.sent.pools[0]!.table).toBe('known')
    wire.run({ a: range(0, 200) })
    expect(wire.sent.pools[0]!.table).not.toBe('known')
  })
})
