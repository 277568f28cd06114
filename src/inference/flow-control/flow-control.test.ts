import { describe, expect, it } from '@jest/globals'
import { waitFor } from '../../../test/support/wait-for.ts'
import { ALONE, EndpointSlots } from '../endpoint-slots.ts'
import { EndpointState, EndpointTable } from '../endpoint-table.ts'
import { InFlightLimit } from '../in-flight-limit.ts'
import { Entering, FlowControl } from './flow-control.ts'
import { FlowEntry, type FlowRequest } from './flow-entry.ts'
import { FlowKeeper } from './flow-keeper.ts'
import { FLOW_OUTCOMES, FlowOutcome } from './flow-outcome.ts'
import type { BandTemplate, FlowControlPlan } from './flow-plan.ts'

const BAND: BandTemplate = {
  maxBytes: 1e9,
  maxRequests: 5000,
  fairness: { type: 'global-strict-fairness-policy', parameters: {} },
  ordering: { type: 'fcfs-ordering-policy', parameters: {} },
}

function planOf(changes: Partial<FlowControlPlan> = {}, priorities: readonly number[] = [1, 0, -1]): FlowControlPlan {
  return {
    requestTtlMs: 60_000,
    noEndpointTtlMs: 60_000,
    defaultBand: BAND,
    defaultNegativeBand: BAND,
    bands: priorities.map(priority => ({ priority, ...BAND })),
    usageLimit: { type: 'static-usage-limit-policy', parameters: {} },
    saturation: { type: 'concurrency-detector', parameters: { maxConcurrency: 1 } },
    ...changes,
  }
}

/** A pool with one endpoint that takes one request at a time, seen by some threads, which all run in this one. */
class Play {
  now = 0
  readonly sent: string[] = []
  readonly refused: string[] = []
  readonly slots: EndpointSlots
  readonly keeper: FlowKeeper
  readonly threads: FlowControl[]
  readonly tables: EndpointTable[]
  readonly plan: FlowControlPlan

  constructor(plan = planOf(), { threads = 1, endpoints = 1 } = {}) {
    this.plan = plan
    this.slots = new EndpointSlots({ releaseBy: 'response', threads: threads + 1 })
    this.setEndpoints(endpoints)
    this.keeper = new FlowKeeper(plan, threads + 1, this.slots.table, 50)
    const clock = { nowMs: () => this.now, monotonicMs: () => this.now }
    this.tables = Array.from({ length: threads }, (_, i) => {
      const options = { releaseBy: 'response' as const, thread: i + 1 }
      return new EndpointTable(options, this.slots.table.state, this.slots.share())
    })
    this.threads = this.tables.map((table, i) => new FlowControl(plan, this.keeper.share(), table, i + 1, clock))
  }

  setEndpoints(count: number): void {
    const endpoints = Array.from({ length: count }, (_, i) => ({ address: `10.0.0.${i}:1`, labels: {} }))
    this.slots.update(endpoints, ALONE)
  }

  /** Sends a request: counted at the endpoint, as a pick does. */
  take(thread: number, name: string): void {
    this.sent.push(name)
    this.tables[thread]!.decide(0)
  }

  /** The request that the endpoint has is over. */
  finish(thread = 0): void {
    this.tables[thread]!.release(0, this.tables[thread]!.generation[0]!)
    this.threads[thread]!.signal()
  }

  enter(name: string, request: Partial<FlowRequest> = {}, thread = 0): PlayEntry {
    const entry = new PlayEntry(this, name, thread, request)
    entry.entering = this.threads[thread]!.enter(entry)
    if (entry.entering === Entering.NOW) this.take(thread, name)
    return entry
  }

  async sees(names: readonly string[]): Promise<void> {
    await waitFor(`${names.length} requests sent on`, () => this.sent.length >= names.length)
    // Whatever should not have been sent has the time to be.
    await new Promise(resolve => setImmediate(resolve))
    expect(this.sent).toEqual(names)
  }

  outcomes(priority: number): Record<string, number> {
    const band = this.keeper.figures(this.now).bands.find(({ plan }) => plan.priority === priority)!
    const counted = band.outcomes.map((count, outcome) => [FLOW_OUTCOMES[outcome], count] as const)
    return Object.fromEntries(counted.filter(([, count]) => count > 0))
  }

  waiting(): number {
    return this.keeper.figures(this.now).bands.reduce((sum, { requests }) => sum + requests, 0)
  }
}

class PlayEntry extends FlowEntry {
  entering: Entering = Entering.NOW
  readonly #play: Play
  readonly #name: string
  readonly #thread: number

  constructor(play: Play, name: string, thread: number, request: Partial<FlowRequest>) {
    const never = Number.POSITIVE_INFINITY
    super({ priority: 0, fairnessId: 'f', bytes: 10, timeoutMs: never, ttftTargetMs: never, ...request })
    this.#play = play
    this.#name = name
    this.#thread = thread
  }

  dispatched(): void {
    this.#play.take(this.#thread, this.#name)
  }

  refused(outcome: FlowOutcome): void {
    this.#play.refused.push(`${this.#name}: ${FLOW_OUTCOMES[outcome]}`)
  }
}

describe('flow control on a thread', () => {
  it('sends on at once while the pool has room, then lets wait, and goes on by priority with every end', async () => {
    const play = new Play()
    expect(play.enter('first').entering).toBe(Entering.NOW)
    expect(play.enter('batch', { priority: -1 }).entering).toBe(Entering.WAITS)
    play.enter('second')
    play.enter('urgent', { priority: 1 })
    await play.sees(['first'])
    play.finish()
    await play.sees(['first', 'urgent'])
    play.finish()
    await play.sees(['first', 'urgent', 'second'])
    play.finish()
    await play.sees(['first', 'urgent', 'second', 'batch'])
    expect(play.waiting()).toBe(0)
    expect(play.outcomes(0)).toEqual({ Dispatched: 2 })
  })

  it('lets wait while the pool has as many requests as it may have', async () => {
    const play = new Play(planOf({ saturation: { type: 'concurrency-detector', parameters: { maxConcurrency: 9 } } }))
    play.threads[0]!.limit = new InFlightLimit(2, play.tables[0]!)
    for (const name of ['a', 'b', 'c', 'd']) play.enter(name)
    await play.sees(['a', 'b'])
    play.finish()
    await play.sees(['a', 'b', 'c'])
  })

  it('one event lets as many go on as there is room for', async () => {
    const play = new Play(planOf({ saturation: { type: 'concurrency-detector', parameters: { maxConcurrency: 3 } } }))
    for (const name of ['a', 'b', 'c', 'd', 'e', 'f', 'g']) play.enter(name)
    expect(play.sent).toEqual(['a', 'b', 'c'])
    play.tables[0]!.counters.release(0, 3)
    play.threads[0]!.signal()
    await play.sees(['a', 'b', 'c', 'd', 'e', 'f'])
  })

  it('the head of the line: what must wait by its ceiling lets nothing of lower priority pass', async () => {
    const usageLimit = { type: 'priority-holdback-policy', parameters: { minCeiling: 0.5 } }
    const saturation = { type: 'concurrency-detector', parameters: { maxConcurrency: 4 } }
    const play = new Play(planOf({ usageLimit, saturation }, [1, 0]))
    for (const name of ['a', 'b', 'c']) play.enter(name, { priority: 0 })
    // Half of the pool is for the higher band alone.
    expect(play.sent).toEqual(['a', 'b'])
    play.enter('d', { priority: 1 })
    play.enter('e', { priority: 1 })
    await play.sees(['a', 'b', 'd', 'e'])
    play.enter('f', { priority: 1 })
    play.finish()
    await play.sees(['a', 'b', 'd', 'e', 'f'])
  })

  it('caps of a band and of all bands, in requests and bytes', () => {
    const full = (changes: Partial<FlowControlPlan>, requests: readonly Partial<FlowRequest>[]) => {
      const play = new Play(planOf(changes))
      play.enter('first')
      const last = requests.map(request => play.enter('waits', request)).at(-1)!
      play.threads[0]!.close(FlowOutcome.EVICTED_OTHER)
      return last.entering
    }
    const band = (template: Partial<BandTemplate>) => ({
      bands: [1, 0].map(priority => ({ priority, ...BAND, ...template })),
    })
    expect(full(band({ maxRequests: 2 }), [{}, {}])).toBe(Entering.WAITS)
    expect(full(band({ maxRequests: 2 }), [{}, {}, {}])).toBe(Entering.FULL)
    expect(full(band({ maxRequests: 2 }), [{}, {}, { priority: 1 }])).toBe(Entering.WAITS)
    expect(full(band({ maxBytes: 20 }), [{}, {}])).toBe(Entering.WAITS)
    expect(full(band({ maxBytes: 20 }), [{}, { bytes: 11 }])).toBe(Entering.FULL)
    expect(full({ maxRequests: 2 }, [{}, { priority: 1 }, { priority: -1 }])).toBe(Entering.FULL)
    expect(full({ maxBytes: 20 }, [{}, { priority: 1 }, { priority: -1, bytes: 1 }])).toBe(Entering.FULL)
  })

  it('whose time is up is told so: that of the configuration, or its own', async () => {
    const play = new Play(planOf({ requestTtlMs: 1000 }))
    play.enter('first')
    play.enter('patient')
    play.enter('hurried', { timeoutMs: 100 })
    await waitFor('a look at the queues', () => play.threads[0]!.waiting === 2)
    play.now = 100
    await waitFor('the first refusal', () => play.refused.length > 0)
    expect(play.refused).toEqual(['hurried: EvictedTTL'])
    play.now = 999
    await new Promise(resolve => setTimeout(resolve, 50))
    expect(play.threads[0]!.waiting).toBe(1)
    play.now = 1000
    await waitFor('the second', () => play.refused.length > 1)
    expect(play.refused).toEqual(['hurried: EvictedTTL', 'patient: EvictedTTL'])
    expect(play.waiting()).toBe(0)
  })

  it('a patient request puts off nobody: whose time is up first is told first, whenever it came', async () => {
    const play = new Play(planOf({ requestTtlMs: 3_600_000 }))
    play.enter('first')
    play.enter('patient')
    await new Promise(resolve => setImmediate(resolve))
    play.enter('hurried', { timeoutMs: 100 })
    await new Promise(resolve => setImmediate(resolve))
    play.now = 100
    await waitFor('the refusal', () => play.refused.length > 0)
    expect(play.refused).toEqual(['hurried: EvictedTTL'])
    play.threads[0]!.close(FlowOutcome.EVICTED_OTHER)
  })

  it('a deadline is found without a look at all that waits', async () => {
    const play = new Play()
    play.enter('first')
    let looks = 0
    for (let i = 0; i < 500; i++)
      Object.defineProperty(play.enter('patient'), 'timeoutMs', { get: () => (looks++, 1e9) })
    for (let i = 1; i <= 3; i++) play.enter(`hurried ${i}`, { timeoutMs: i })
    play.now = 3
    await waitFor('the refusals', () => play.refused.length === 3)
    expect(looks).toBe(0)
    expect(play.threads[0]!.waiting).toBe(500)
  })

  it('other times count from the moment that the pool loses its last endpoint', async () => {
    const play = new Play(planOf({ requestTtlMs: 3_600_000, noEndpointTtlMs: 1000 }))
    play.enter('first')
    play.enter('a')
    await new Promise(resolve => setImmediate(resolve))
    play.now = 2000
    play.slots.table.endpointState[0] = EndpointState.UNREACHABLE
    play.keeper.signal()
    await waitFor('the refusal', () => play.refused.length > 0)
    expect(play.refused).toEqual(['a: EvictedNoEndpoints'])
  })

  it('a plan with another time holds for what waits already', async () => {
    const play = new Play(planOf({ requestTtlMs: 3_600_000 }))
    play.enter('first')
    play.enter('a')
    await new Promise(resolve => setImmediate(resolve))
    const shorter = planOf({ requestTtlMs: 50 })
    play.threads[0]!.adopt(shorter, play.keeper.share())
    await new Promise(resolve => setImmediate(resolve))
    play.now = 50
    await waitFor('the refusal', () => play.refused.length > 0)
  })

  it('while there is no endpoint another time counts, and one that comes is used at once', async () => {
    const play = new Play(planOf({ requestTtlMs: 10, noEndpointTtlMs: 1000 }))
    play.slots.table.endpointState[0] = EndpointState.UNREACHABLE
    play.enter('a')
    play.now = 500
    await new Promise(resolve => setTimeout(resolve, 50))
    expect(play.refused).toEqual([])
    play.slots.table.endpointState[0] = EndpointState.READY
    play.keeper.signal()
    await play.sees(['a'])
    play.slots.table.endpointState[0] = EndpointState.UNREACHABLE
    play.enter('b')
    play.now = 1500
    await waitFor('the refusal', () => play.refused.length > 0)
    expect(play.refused).toEqual(['b: EvictedNoEndpoints'])
    expect(play.outcomes(0)).toEqual({ Dispatched: 1, EvictedNoEndpoints: 1 })
  })

  it('one that is cancelled is gone at once, and those behind it go on', async () => {
    const usageLimit = { type: 'priority-holdback-policy', parameters: { minCeiling: 1, maxCeiling: 1 } }
    const play = new Play(planOf({ usageLimit }))
    play.enter('first')
    const gone = play.enter('gone', { priority: 1 })
    play.enter('next')
    play.threads[0]!.cancel(gone)
    // A second time changes nothing.
    play.threads[0]!.cancel(gone)
    expect(play.waiting()).toBe(1)
    play.finish()
    await play.sees(['first', 'next'])
    expect(play.outcomes(1)).toEqual({ EvictedContextCancelled: 1 })
  })

  it('a plan with other bands keeps what waits; flow control that ends lets it go', async () => {
    const play = new Play()
    const [thread] = play.threads
    play.enter('first')
    play.enter('batch', { priority: -1 })
    play.enter('urgent', { priority: 1 })
    const smaller = planOf({}, [0])
    play.keeper.update(smaller, 50)
    thread!.adopt(smaller, play.keeper.share())
    play.finish()
    await play.sees(['first', 'urgent'])
    // A priority that is not known any more counts as the nearest below, or the lowest.
    play.enter('late', { priority: 7 })
    thread!.release()
    expect(play.sent).toEqual(['first', 'urgent', 'late', 'batch'])
    expect(thread!.waiting).toBe(0)
  })

  it('what waits at a shutdown is told so, and nothing waits afterwards', () => {
    const play = new Play()
    play.enter('first')
    play.enter('second')
    play.threads[0]!.close(FlowOutcome.EVICTED_OTHER)
    expect(play.refused).toEqual(['second: EvictedOther'])
    expect(play.enter('third').entering).toBe(Entering.CLOSED)
    expect(play.outcomes(0)).toEqual({ Dispatched: 1, RejectedOther: 1, EvictedOther: 1 })
  })
})

describe('flow control on several threads', () => {
  it('caps hold over all', () => {
    const play = new Play(planOf({ maxRequests: 2 }), { threads: 2 })
    play.enter('first')
    expect(play.enter('a', {}, 0).entering).toBe(Entering.WAITS)
    expect(play.enter('b', {}, 1).entering).toBe(Entering.WAITS)
    expect(play.enter('c', {}, 0).entering).toBe(Entering.FULL)
    expect(play.enter('d', { priority: 1 }, 1).entering).toBe(Entering.FULL)
  })

  it('nobody goes before a higher priority, wherever that waits, and the others go on when it has gone', async () => {
    const play = new Play(planOf(), { threads: 2 })
    play.enter('first', {}, 0)
    play.enter('low', { priority: -1 }, 0)
    play.enter('high', { priority: 1 }, 1)
    play.enter('middle', {}, 0)
    await waitFor('all queues', () => play.threads[0]!.waiting + play.threads[1]!.waiting === 3)
    await new Promise(resolve => setImmediate(resolve))
    play.finish(0)
    await play.sees(['first', 'high'])
    play.finish(1)
    await play.sees(['first', 'high', 'middle'])
    play.finish(0)
    await play.sees(['first', 'high', 'middle', 'low'])
  })

  it('an end at another thread between a look at the pool and what follows from it is not missed', async () => {
    const play = new Play(planOf(), { threads: 2 })
    play.enter('first', {}, 1)
    const [table] = play.tables
    let looks = 0
    // Asked for once the saturation has been read: the place gets free after the look at which nothing is known to wait yet.
    play.threads[0]!.limit = new (class extends InFlightLimit {
      override get isReached(): boolean {
        if (++looks === 2) play.finish(1)
        return false
      }
    })(9, table!)
    play.enter('next', {}, 0)
    await play.sees(['first', 'next'])
  })

  it('what comes does not take a free place from an equal that waits at another thread', async () => {
    const play = new Play(planOf(), { threads: 2 })
    play.enter('first', {}, 0)
    play.enter('waits', {}, 1)
    await new Promise(resolve => setImmediate(resolve))
    play.finish(0)
    expect(play.enter('late', {}, 0).entering).toBe(Entering.WAITS)
    expect(play.enter('later', {}, 0).entering).toBe(Entering.WAITS)
    await play.sees(['first', 'waits'])
    play.finish(1)
    await play.sees(['first', 'waits', 'late'])
    play.finish(0)
    await play.sees(['first', 'waits', 'late', 'later'])
  })

  it('but for a moment only: a thread that hangs holds up nobody', async () => {
    const play = new Play(planOf(), { threads: 2 })
    play.enter('first', {}, 0)
    play.enter('waits', {}, 1)
    await new Promise(resolve => setImmediate(resolve))
    play.threads[1]!.schedule = () => {}
    play.finish(0)
    play.enter('late', {}, 0)
    await play.sees(['first', 'late'])
    play.finish(0)
    play.enter('later', {}, 0)
    await play.sees(['first', 'late', 'later'])
  })

  it('a thread that died holds up nobody, and what waited there is not counted any more', async () => {
    const play = new Play(planOf(), { threads: 2 })
    play.enter('first', {}, 0)
    const lost = play.enter('lost', { priority: 1 }, 1)
    play.enter('next', {}, 0)
    await waitFor('both queues', () => play.waiting() === 2)
    await new Promise(resolve => setImmediate(resolve))
    // Its worker is gone: nothing of it runs any more.
    play.threads[1]!.cancel = () => {}
    play.threads[1]!.schedule = () => {}
    play.keeper.threadDied(2)
    expect(play.waiting()).toBe(1)
    play.finish(0)
    await play.sees(['first', 'next'])
    expect(lost.entering).toBe(Entering.WAITS)
  })
})
