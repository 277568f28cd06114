import { describe, expect, it } from '@jest/globals'
import { waitFor } from '../../../test/support/wait-for.ts'
import { ALONE, EndpointSlots } from '../endpoint-slots.ts'
import { EndpointTable } from '../endpoint-table.ts'
import { InFlightLimit } from '../in-flight-limit.ts'
import { metrics } from '../testing.ts'
import { Entering, FlowControl } from './flow-control.ts'
import { FlowEntry } from './flow-entry.ts'
import { FlowKeeper } from './flow-keeper.ts'
import type { BandTemplate, FlowControlPlan } from './flow-plan.ts'
import { Lease } from './lease.ts'
import { visibleAfterMs } from './saturation.ts'

const BAND: BandTemplate = {
  maxBytes: 1e9,
  maxRequests: 5000,
  fairness: { type: 'global-strict-fairness-policy', parameters: {} },
  ordering: { type: 'fcfs-ordering-policy', parameters: {} },
}
const NEVER = Number.POSITIVE_INFINITY

/** One endpoint that takes `capacity` requests, and the threads that send to it, which all run in this one; the clock stands still. */
class Play {
  now = 1_000_000
  /** Revoked requests whose streams do not end by themselves. */
  hangs = false
  readonly revoked: string[] = []
  readonly sent: string[] = []
  readonly slots: EndpointSlots
  readonly keeper: FlowKeeper
  readonly plan: FlowControlPlan
  readonly threads: FlowControl[]
  readonly tables: EndpointTable[]

  constructor(changes: Partial<FlowControlPlan> = {}, { threads = 1, capacity = 4 } = {}) {
    this.plan = {
      requestTtlMs: 0,
      noEndpointTtlMs: 0,
      defaultBand: BAND,
      defaultNegativeBand: BAND,
      bands: [2, 1, 0, -1, -2].map(priority => ({ priority, ...BAND })),
      usageLimit: { type: 'static-usage-limit-policy', parameters: {} },
      saturation: { type: 'concurrency-detector', parameters: { maxConcurrency: capacity } },
      evicts: true,
      ...changes,
    }
    const slots = new EndpointSlots({ releaseBy: 'response', threads: threads + 1 })
    this.slots = slots
    slots.update([{ address: '10.0.0.1:1', labels: {} }], ALONE)
    this.keeper = new FlowKeeper(this.plan, threads + 1, slots.table, 50)
    const clock = { nowMs: () => this.now, monotonicMs: () => this.now }
    this.tables = Array.from(
      { length: threads },
      (_, i) => new EndpointTable({ releaseBy: 'response', thread: i + 1 }, slots.table.state, slots.share()),
    )
    this.threads = this.tables.map((table, i) => new FlowControl(this.plan, this.keeper.share(), table, i + 1, clock))
  }

  enter(name: string, priority: number, thread = 0): Request {
    this.now++
    const request = new Request(this, name, priority, thread)
    if (this.threads[thread]!.enter(request.entry) === Entering.NOW) request.send()
    return request
  }

  /** As many requests as the endpoint takes. */
  fill(...priorities: readonly number[]): Request[] {
    const requests = priorities.map((priority, i) => this.enter(`${priority}/${i}`, priority))
    expect(this.sent).toHaveLength(priorities.length)
    return requests
  }

  /** So many requests wait at the endpoint, which has just said so. */
  tells(waiting: number): void {
    this.slots.scrapeBegan(0)
    this.slots.scraped(0, metrics({ waiting }), this.now)
  }

  /** All that is to happen without time has happened. */
  async settle(): Promise<void> {
    for (let i = 0; i < 20; i++) await new Promise(resolve => setImmediate(resolve))
  }

  /** Time passes, and somebody looks at the queues. */
  async after(ms: number): Promise<void> {
    this.now += ms
    for (const thread of this.threads) thread.schedule()
    await this.settle()
  }

  get figures() {
    const { bands, revocations } = this.keeper.figures(this.now)
    const issued = bands.map(({ plan, revocationsIssued }) => [plan.priority, revocationsIssued] as const)
    return { ...revocations!, issued: Object.fromEntries(issued.filter(([, count]) => count > 0)) }
  }
}

class Request {
  readonly entry: FlowEntry
  readonly lease: Lease
  readonly #play: Play
  readonly #name: string
  readonly #thread: number

  constructor(play: Play, name: string, priority: number, thread: number) {
    this.#play = play
    this.#name = name
    this.#thread = thread
    const send = () => this.send()
    this.entry = new (class extends FlowEntry {
      dispatched = send
      refused() {}
    })({ priority, fairnessId: 'f', bytes: 1, timeoutMs: NEVER, ttftTargetMs: NEVER })
    const revoke = () => {
      play.revoked.push(name)
      if (!play.hangs) this.end()
    }
    this.lease = new (class extends Lease {
      revoke = revoke
    })(priority)
  }

  send(): void {
    this.#play.sent.push(this.#name)
    this.#play.tables[this.#thread]!.decide(0)
    this.#play.threads[this.#thread]!.evictor!.begin(this.lease)
  }

  end(): void {
    this.#play.threads[this.#thread]!.evictor!.end(this.lease)
    this.#play.tables[this.#thread]!.release(0, this.#play.tables[this.#thread]!.generation[0]!)
    this.#play.threads[this.#thread]!.signal()
  }
}

describe('eviction', () => {
  it('calls back the lowest priority, and of those what was sent last, for one that waits', async () => {
    const play = new Play()
    play.fill(-1, -2, -2, 0)
    play.enter('urgent', 2)
    await waitFor('urgent', () => play.sent.includes('urgent'))
    expect(play.revoked).toEqual(['-2/2'])
    expect(play.figures).toMatchObject({ issued: { '-2': 1 }, confirmed: 1, timedOut: 0, target: 0 })
    expect(play.figures.confirmation.buckets.reduce((sum, count) => sum + count, 0)).toBe(1)
  })

  it.each([
    ['nothing is below 0', [0, 0, 1, 1], 2],
    ['what waits is no higher', [-1, -1, -1, -1], -1],
    ['what waits is lower', [-1, -1, -1, -1], -2],
  ])('%s: nothing is called back', async (_name, held, priority) => {
    const play = new Play()
    play.fill(...held)
    play.enter('late', priority)
    await play.after(1000)
    expect(play.revoked).toEqual([])
    expect(play.sent).toHaveLength(4)
    expect(play.figures.confirmed).toBe(0)
  })

  it('nothing is called back while all go on, or where the plan does not say so', async () => {
    const free = new Play()
    free.fill(-1, -1)
    free.enter('urgent', 2)
    await free.settle()
    expect([free.sent.length, free.revoked.length]).toEqual([3, 0])
    const off = new Play()
    const { evicts: _evicts, ...plan } = off.plan
    const held = off.fill(-1, -1, -1, -1)
    off.keeper.update(plan, 50)
    off.threads[0]!.adopt(plan, off.keeper.share())
    expect(off.threads[0]!.evictor).toBeUndefined()
    off.enter('urgent', 2)
    await off.after(1000)
    expect(off.revoked).toEqual([])
    expect(off.keeper.figures(off.now).revocations).toBeUndefined()
    // What an earlier evictor knew does no harm when it is over.
    expect(held).toHaveLength(4)
  })

  it('nothing is called back where nothing is known of any endpoint, or there is none', async () => {
    const play = new Play({ saturation: { type: 'utilization-detector', parameters: {} } })
    const held = [-1, -1].map(priority => {
      const request = new Request(play, 'held', priority, 0)
      request.send()
      return request
    })
    play.enter('urgent', 2)
    await play.after(60_000)
    expect(play.revoked).toEqual([])
    play.slots.update([], ALONE)
    play.threads[0]!.adopt(play.plan, play.keeper.share())
    await play.after(60_000)
    expect(play.revoked).toEqual([])
    expect(held).toHaveLength(2)
  })

  it('by what replicas tell of themselves, a decision waits for what they tell after it', async () => {
    const play = new Play({ saturation: { type: 'utilization-detector', parameters: { queueDepthThreshold: 10 } } })
    play.tells(20)
    for (const name of ['a', 'b', 'c', 'd']) new Request(play, name, -1, 0).send()
    play.enter('urgent', 2)
    await play.settle()
    // Twice as full as it should be: two of four.
    expect(play.revoked).toEqual(['d', 'c'])
    // Still so, with two requests: one of them.
    for (const [ms, count] of [
      [50 + 200 + 250 - 1, 2],
      [1, 3],
    ] as const) {
      play.now += ms
      play.tells(20)
      await play.after(0)
      expect(play.revoked).toHaveLength(count)
    }
    play.tells(3)
    await play.after(0)
    expect(play.sent).toContain('urgent')
  })

  it('a ceiling of 0 would never open', async () => {
    const play = new Play()
    play.fill(-1, -1, 0, 0)
    play.threads[0]!.evictor!.reclaim({ priority: 0, saturation: 1, ceiling: 0 })
    await play.after(100)
    expect(play.revoked).toEqual([])
    play.threads[0]!.evictor!.reclaim({ priority: 0, saturation: 1, ceiling: 1 })
    expect(play.revoked).toEqual(['-1/1'])
  })

  it('two at the most are called back in one decision, and the next one waits for their streams and a grace', async () => {
    const play = new Play({ usageLimit: { type: 'static-usage-limit-policy', parameters: { threshold: 0.25 } } })
    play.hangs = true
    const held = ['a', 'b', 'c', 'd'].map(name => {
      const request = new Request(play, name, -1, 0)
      request.send()
      return request
    })
    play.enter('urgent', 2)
    await play.settle()
    // Three quarters are too much; each is worth a quarter.
    expect(play.revoked).toEqual(['d', 'c'])
    expect(play.figures).toMatchObject({ target: 0.75, pending: 0.5, confirmed: 0 })
    await play.after(5000)
    expect(play.revoked).toHaveLength(2)
    held[3]!.end()
    await play.after(5)
    expect(play.figures).toMatchObject({ pending: 0.5, confirmed: 1 })
    held[2]!.end()
    await play.settle()
    expect(play.revoked).toHaveLength(2)
    // 10 ms after the last one has ended.
    await play.after(9)
    expect(play.revoked).toHaveLength(2)
    await play.after(1)
    // A quarter is too much now.
    expect(play.revoked).toEqual(['d', 'c', 'b'])
    expect(play.figures).toMatchObject({ target: 0.25, pending: 0.25, issued: { '-1': 3 }, confirmed: 2 })
    held[1]!.end()
    await play.after(10)
    // At the ceiling itself it is still too full.
    expect(play.revoked).toEqual(['d', 'c', 'b', 'a'])
    expect(play.figures.target).toBe(0)
  })

  it('what has not ended after ten seconds is given up, and does not count twice', async () => {
    const play = new Play()
    play.hangs = true
    const held = play.fill(-1, -1, 0, 0)
    play.enter('urgent', 2)
    await play.settle()
    expect(play.revoked).toEqual(['-1/1'])
    await play.after(9_990)
    expect(play.revoked).toHaveLength(1)
    await play.after(20)
    // That begins the grace.
    expect(play.figures).toMatchObject({ timedOut: 1, confirmed: 0 })
    await play.after(10)
    expect(play.revoked).toEqual(['-1/1', '-1/0'])
    held[1]!.end()
    await play.settle()
    expect(play.sent).toContain('urgent')
    expect(play.figures).toMatchObject({ timedOut: 1, confirmed: 0, issued: { '-1': 2 } })
    held[0]!.end()
    expect(play.figures).toMatchObject({ timedOut: 1, confirmed: 1 })
  })

  it('the timer comes back by itself when the grace is over', async () => {
    const play = new Play()
    play.fill(-1, -1, -1, -1)
    play.enter('one', 2)
    await waitFor('one', () => play.sent.includes('one'))
    play.enter('two', 2)
    await play.settle()
    play.now += 10
    await waitFor('two', () => play.sent.includes('two'))
    expect(play.revoked).toHaveLength(2)
  })

  it('and when a stream has ended long before it would have been given up', async () => {
    const play = new Play()
    play.hangs = true
    const held = play.fill(-1, -1, -1, -1)
    play.enter('one', 2)
    play.enter('two', 2)
    // Both have looked, and found that they must wait for the stream.
    await play.after(0)
    expect(play.revoked).toHaveLength(1)
    held[3]!.end()
    await waitFor('one', () => play.sent.includes('one'))
    await play.settle()
    play.now += 10
    await waitFor('the next', () => play.revoked.length === 2, { timeoutMs: 8000 })
  })

  it('a limit of what is in flight counts as full too', async () => {
    const play = new Play({}, { capacity: 100 })
    play.threads[0]!.limit = new InFlightLimit(2, play.tables[0]!)
    play.fill(-1, 0)
    play.enter('urgent', 2)
    await waitFor('urgent', () => play.sent.includes('urgent'))
    expect(play.revoked).toEqual(['-1/0'])
  })

  it.each([
    ['concurrency-detector', {}, 10],
    ['utilization-detector', {}, 50 + 200 + 250],
    ['utilization-detector', { metricsStalenessThreshold: '2s' }, 50 + 2000 + 250],
  ])('grace of a %s: %j', (type, parameters, expected) => {
    expect(visibleAfterMs({ type, parameters }, 50)).toBe(expected)
  })
})

describe('eviction on several threads', () => {
  it('a request that waits at one thread has others call back theirs, the first victims of all', async () => {
    const play = new Play({}, { threads: 3 })
    play.enter('a', -1, 0)
    play.enter('b', -2, 1)
    play.enter('c', -2, 2)
    play.enter('d', -1, 1)
    play.enter('urgent', 2, 0)
    await waitFor('urgent', () => play.sent.includes('urgent'))
    expect(play.revoked).toEqual(['c'])
    play.now += 10
    play.enter('next', 2, 0)
    await waitFor('next', () => play.sent.includes('next'))
    expect(play.revoked).toEqual(['c', 'b'])
  })

  it('one decision at a time, however many threads wait', async () => {
    const play = new Play({}, { threads: 4 })
    play.hangs = true
    for (let thread = 0; thread < 4; thread++) play.enter(`held ${thread}`, -1, thread)
    for (let thread = 0; thread < 4; thread++) play.enter(`urgent ${thread}`, 2, thread)
    await play.after(100)
    await play.after(1000)
    expect(play.revoked).toEqual(['held 3'])
  })

  it('what a thread was ordered that died, or hangs, holds up nobody', async () => {
    const play = new Play({}, { threads: 2, capacity: 2 })
    play.hangs = true
    play.enter('lost', -1, 1)
    play.now++
    play.enter('held', -1, 0)
    play.enter('urgent', 2, 0)
    await play.settle()
    expect(play.revoked).toEqual(['held'])
    play.keeper.threadHangs(2)
    // Given up; the other thread's is hidden.
    await play.after(10_001)
    await play.after(10)
    expect(play.revoked).toEqual(['held'])
    play.keeper.threadDied(2)
    const another = new Request(play, 'another', -1, 0)
    another.send()
    await play.after(10)
    expect(play.revoked).toEqual(['held', 'another'])
  })
})
