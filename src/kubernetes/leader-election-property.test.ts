import { afterEach, beforeEach, expect, it, jest } from '@jest/globals'
import fc from 'fast-check'
import { createLog } from '../telemetry/log.ts'
import { FakeLeases, type Method, PLACE } from './fake-leases.ts'
import { LeaderElection } from './leader-election.ts'

beforeEach(() => {
  jest.useFakeTimers({ doNotFake: ['nextTick', 'queueMicrotask', 'setImmediate'] })
})
afterEach(() => {
  jest.useRealTimers()
})

interface Delays {
  /** Milliseconds until the server has it, even if nobody waits for it any more; undefined: it never does. */
  readonly there: number | undefined
  /** … until its answer has come. */
  readonly back: number
}
const FAST: Delays = { there: 0, back: 0 }

class Candidate {
  delays = FAST
  readonly election: LeaderElection
  readonly #leases: FakeLeases

  constructor(leases: FakeLeases, identity: string, onLead: (self: Candidate) => void) {
    this.#leases = leases
    this.election = new LeaderElection({
      client: {
        getJson: (path, signal) => this.#ask('GET', path, undefined, signal),
        postJson: (path, object, signal) => this.#ask('POST', path, object, signal),
        putJson: (path, object, signal) => this.#ask('PUT', path, object, signal),
        renew: () => Promise.resolve(),
      },
      lease: PLACE,
      identity,
      log: createLog('silent'),
      onChange: leads => leads && onLead(this),
    })
    this.election.start()
  }

  #ask(method: Method, path: string, object: unknown, signal: AbortSignal): Promise<unknown> {
    const { there, back } = this.delays
    return new Promise((resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason as Error))
      if (there === undefined) return
      setTimeout(() => {
        let answer: () => void
        try {
          const stored = this.#leases.handle(method, path, object)
          answer = () => resolve(stored)
        } catch (error) {
          answer = () => reject(error)
        }
        setTimeout(answer, back)
      }, there)
    })
  }
}

const WHO = fc.nat({ max: 2 })
const DELAY = fc.oneof(fc.nat({ max: 400 }), fc.nat({ max: 14_000 }))
const DELAYS = fc.record({ there: fc.option(DELAY, { nil: undefined, freq: 4 }), back: DELAY })
const ACTION = fc.record({
  /** Before it. */
  pauseMs: fc.nat({ max: 20_000 }),
  what: fc.oneof(
    { weight: 6, arbitrary: fc.record({ delays: DELAYS, who: WHO }) },
    { weight: 3, arbitrary: fc.record({ delays: fc.constant(FAST), who: WHO }) },
    // It dies without a word, and another process comes in its place.
    { weight: 1, arbitrary: fc.record({ replaced: fc.constant('killed' as const), who: WHO }) },
    { weight: 1, arbitrary: fc.record({ replaced: fc.constant('stopped' as const), who: WHO }) },
    // Somebody labels the Lease.
    { weight: 1, arbitrary: fc.constant({ touched: true as const }) },
  ),
})

/** One run of three candidates. Returns the most that ever led at a time, and how many lead when all is well again. */
async function play(actions: readonly (typeof ACTION extends fc.Arbitrary<infer T> ? T : never)[]) {
  const leases = new FakeLeases()
  const killed = new Set<Candidate>()
  const everybody: Candidate[] = []
  let most = 0
  const leading = () => everybody.filter(one => one.election.leads && !killed.has(one)).length
  const join = () => {
    const one = new Candidate(leases, `candidate-${everybody.length}`, () => (most = Math.max(most, leading())))
    everybody.push(one)
    return one
  }
  const standing = [join(), join(), join()]
  const stopping: Promise<void>[] = []
  for (const { pauseMs, what } of actions) {
    await jest.advanceTimersByTimeAsync(pauseMs)
    if ('touched' in what) {
      if (leases.stored !== undefined) leases.write(leases.stored.spec)
    } else if ('delays' in what) standing[what.who]!.delays = what.delays
    else {
      const gone = standing[what.who]!
      if (what.replaced === 'killed') {
        killed.add(gone)
        gone.delays = { there: undefined, back: 0 }
      } else stopping.push(gone.election.stop())
      standing[what.who] = join()
    }
  }
  for (const one of standing) one.delays = FAST
  // What is still under way arrives, what is held runs out, and somebody looks.
  await jest.advanceTimersByTimeAsync(80_000)
  const leaders = leading()
  for (const one of everybody) stopping.push(one.election.stop())
  await jest.advanceTimersByTimeAsync(40_000)
  await Promise.all(stopping)
  return { most, leaders, timers: jest.getTimerCount() }
}

it('never has two leaders, and one as soon as all is well, however requests are late, lost or done unheard', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(ACTION, { maxLength: 25 }), async actions => {
      expect(await play(actions)).toEqual({ most: 1, leaders: 1, timers: 0 })
    }),
    { numRuns: 60 },
  )
}, 120_000)
