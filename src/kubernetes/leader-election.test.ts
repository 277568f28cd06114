import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals'
import { createLog } from '../telemetry/log.ts'
import { ApiError } from './api-error.ts'
import { FakeLeases, Line, PLACE } from './fake-leases.ts'
import { candidateName, LeaderElection } from './leader-election.ts'

const elections: LeaderElection[] = []
beforeEach(() => {
  jest.useFakeTimers({ doNotFake: ['nextTick', 'queueMicrotask', 'setImmediate'] })
})
afterEach(async () => {
  await Promise.all([...elections.splice(0).map(election => election.stop()), pass(6000)])
  expect(jest.getTimerCount()).toBe(0)
  jest.useRealTimers()
})

const pass = (ms: number) => jest.advanceTimersByTimeAsync(ms)

function candidate(leases: FakeLeases, identity: string) {
  const line = new Line(leases)
  const changes: boolean[] = []
  const lines: { level: number; msg: string; [field: string]: unknown }[] = []
  const log = createLog('info', { write: text => void lines.push(JSON.parse(text)) })
  const election = new LeaderElection({ client: line, lease: PLACE, identity, log, onChange: now => changes.push(now) })
  elections.push(election)
  return {
    line,
    election,
    changes,
    lines,
    told: (text: string) => lines.filter(({ msg }) => msg.includes(text)).length,
  }
}
type Candidate = ReturnType<typeof candidate>

const leaders = (...candidates: readonly Candidate[]) => candidates.map(({ election }) => election.leads)

describe('leader election', () => {
  it('makes the Lease, and renews it every two seconds', async () => {
    const leases = new FakeLeases()
    const { election, line, changes, told } = candidate(leases, 'a')
    election.start()
    election.start()
    await pass(0)
    expect(election.leads).toBe(true)
    const first = leases.stored!.spec
    expect(first).toMatchObject({ holderIdentity: 'a', leaseDurationSeconds: 15, leaseTransitions: 0 })
    await pass(60_000)
    expect(election.leads).toBe(true)
    expect(line.asked.slice(0, 2)).toEqual(['GET', 'POST'])
    // Nothing is read where nothing has changed.
    expect(line.asked.slice(2)).toEqual(Array.from({ length: 30 }, () => 'PUT'))
    expect(leases.stored!.spec).toMatchObject({ acquireTime: first['acquireTime'], leaseTransitions: 0 })
    expect(leases.stored!.spec['renewTime']).not.toBe(first['renewTime'])
    expect([changes, told('this replica leads')]).toEqual([[true], 1])
  })

  it('has one leader of three', async () => {
    const leases = new FakeLeases()
    const all = ['a', 'b', 'c'].map(name => candidate(leases, name))
    // All find none, all make one: two get 409.
    for (const { election } of all) election.start()
    await pass(0)
    expect(leaders(...all).filter(Boolean)).toHaveLength(1)
    const first = leaders(...all)
    for (let i = 0; i < 100; i++) {
      await pass(1000)
      expect(leaders(...all)).toEqual(first)
    }
    expect(leases.stored!.spec['leaseTransitions']).toBe(0)
    for (const { election, told } of all) expect(told('another replica leads')).toBe(election.leads ? 0 : 1)
    // That another was quicker is no fault.
    for (const { lines } of all) expect(lines.filter(({ level }) => level > 30)).toEqual([])
  })

  it('a leader that dies is followed after the lease time, not before', async () => {
    const leases = new FakeLeases()
    const [a, b] = [candidate(leases, 'a'), candidate(leases, 'b')]
    a.election.start()
    await pass(0)
    b.election.start()
    await pass(20_000)
    // As kill -9: it neither renews nor knows.
    a.line.fault = 'silent'
    const renewed = leases.version
    const last = Date.parse(leases.stored!.spec['renewTime'] as string)
    while (leases.version === renewed) await pass(100)
    expect(leases.stored!.spec).toMatchObject({ holderIdentity: 'b', leaseTransitions: 1 })
    const waited = Date.now() - last
    expect(waited).toBeGreaterThanOrEqual(15_000)
    // The lease time, and at most two of its looks.
    expect(waited).toBeLessThanOrEqual(15_000 + 2 * 4400 + 200)
    expect(leaders(a, b)).toEqual([false, true])
  })

  it.each(['broken', 'silent', 'mute'] as const)(
    'a leader whose requests stay %s gives up before anybody follows, and follows then',
    async fault => {
      const leases = new FakeLeases()
      const [a, b] = [candidate(leases, 'a'), candidate(leases, 'b')]
      a.election.start()
      await pass(0)
      b.election.start()
      await pass(10_000)
      a.line.fault = fault
      for (let i = 0; i < 600; i++) {
        await pass(100)
        expect(leaders(a, b)).not.toEqual([true, true])
      }
      expect(leaders(a, b)).toEqual([false, true])
      expect(a.told('leads no longer')).toBe(1)
      expect(a.told('can not be had')).toBe(1)
      expect(a.line.renewals).toBeGreaterThan(0)
      a.line.fault = 'none'
      await pass(20_000)
      expect(leaders(a, b)).toEqual([false, true])
      expect(a.told('can be had again')).toBe(1)
    },
  )

  it('an API server that is away for all ends the leadership after ten seconds, and no sooner', async () => {
    const leases = new FakeLeases()
    const a = candidate(leases, 'a')
    a.election.start()
    await pass(4000)
    a.line.fault = 'broken'
    await pass(9900)
    expect(a.changes).toEqual([true])
    await pass(200)
    expect(a.changes).toEqual([true, false])
    await pass(60_000)
    a.line.fault = 'none'
    await pass(4500)
    // Nobody was there meanwhile: it is the same term.
    expect(a.changes).toEqual([true, false, true])
    expect(leases.stored!.spec['leaseTransitions']).toBe(0)
    expect(a.told('can not be had')).toBe(1)
  })

  it('a renewal is given half of the time to renew, so that a hanging one is followed by another', async () => {
    const leases = new FakeLeases()
    const a = candidate(leases, 'a')
    a.election.start()
    await pass(0)
    a.line.fault = 'silent'
    await pass(3000)
    a.line.fault = 'none'
    await pass(60_000)
    expect(a.changes).toEqual([true])
  })

  it('is given away on an orderly end: the other leads after its next look', async () => {
    const leases = new FakeLeases()
    const [a, b] = [candidate(leases, 'a'), candidate(leases, 'b')]
    a.election.start()
    await pass(0)
    b.election.start()
    await pass(5000)
    const stopped = a.election.stop()
    expect(a.election.leads).toBe(false)
    await stopped
    expect(leases.stored!.spec).toMatchObject({ holderIdentity: '', leaseDurationSeconds: 1 })
    await pass(4500)
    expect(leaders(a, b)).toEqual([false, true])
    expect(leases.stored!.spec).toMatchObject({ holderIdentity: 'b', leaseTransitions: 1 })
    a.election.start()
    await pass(60_000)
    expect(a.changes).toEqual([true, false])
  })

  it('is given away too where the answer that it is ours never came', async () => {
    const leases = new FakeLeases()
    const a = candidate(leases, 'a')
    a.line.fault = 'unheard'
    a.election.start()
    await pass(0)
    expect([a.line.asked, a.election.leads]).toEqual([['GET', 'POST'], false])
    expect(leases.stored!.spec['holderIdentity']).toBe('a')
    a.line.fault = 'none'
    await a.election.stop()
    expect(leases.stored!.spec['holderIdentity']).toBe('')
  })

  it('who holds it without having heard so leads when it hears', async () => {
    const leases = new FakeLeases()
    const [a, b] = [candidate(leases, 'a'), candidate(leases, 'b')]
    a.line.fault = 'unheard'
    a.election.start()
    await pass(0)
    b.election.start()
    await pass(60_000)
    // It goes on taking what it has.
    expect(leaders(a, b)).toEqual([false, false])
    a.line.fault = 'none'
    await pass(10_000)
    expect(leaders(a, b)).toEqual([true, false])
    expect(leases.stored!.spec['leaseTransitions']).toBe(0)
  })

  it('a follower that ends leaves the Lease alone; one that ends while the server hangs does so in time', async () => {
    const leases = new FakeLeases()
    const [a, b] = [candidate(leases, 'a'), candidate(leases, 'b')]
    a.election.start()
    await pass(0)
    b.election.start()
    await pass(0)
    const asked = b.line.asked.length
    await b.election.stop()
    expect(b.line.asked).toHaveLength(asked)
    expect(leases.stored!.spec['holderIdentity']).toBe('a')
    a.line.fault = 'silent'
    let ended = false
    const stopped = a.election.stop().then(() => (ended = true))
    await pass(5100)
    expect(ended).toBe(true)
    await stopped
    expect(a.told('not given away')).toBe(1)
  })

  it('ends before it has begun', async () => {
    const a = candidate(new FakeLeases(), 'a')
    await a.election.stop()
    a.election.start()
    await pass(10_000)
    expect(a.line.asked).toEqual([])
  })

  it.each([['1999-01-01T00:00:00.000000Z'], ['2999-01-01T00:00:00.000000Z'], ['yesterday'], [undefined]])(
    'clocks of others count for nothing: %s',
    async time => {
      const leases = new FakeLeases()
      const renew = (count: number) =>
        leases.write({ holderIdentity: 'old', leaseDurationSeconds: 15, acquireTime: time, renewTime: time, count })
      renew(0)
      const a = candidate(leases, 'a')
      a.election.start()
      for (let i = 1; i <= 10; i++) {
        await pass(10_000)
        expect(a.election.leads).toBe(false)
        renew(i)
      }
      await pass(15_000)
      expect(a.election.leads).toBe(false)
      await pass(2 * 4400)
      expect(a.election.leads).toBe(true)
    },
  )

  it('waits for as long as the holder says', async () => {
    const leases = new FakeLeases()
    leases.write({ holderIdentity: 'old', leaseDurationSeconds: 60 })
    const a = candidate(leases, 'a')
    a.election.start()
    await pass(59_900)
    expect(a.election.leads).toBe(false)
    await pass(4500)
    expect(a.election.leads).toBe(true)
  })

  it('other changes of the object are no renewal, and survive ours', async () => {
    const leases = new FakeLeases()
    const old = { holderIdentity: 'old', leaseDurationSeconds: 15 }
    leases.write(old)
    const a = candidate(leases, 'a')
    a.election.start()
    for (let i = 0; i < 20; i++) {
      await pass(1000)
      if (leases.stored!.spec['holderIdentity'] === 'old') {
        leases.write(old)
        leases.stored!.metadata['labels'] = { touched: String(i) }
      }
    }
    expect(a.election.leads).toBe(true)
    expect(leases.stored!.metadata['labels']).toBeDefined()
  })

  it('a leader that finds another in the Lease leads no longer at once', async () => {
    const leases = new FakeLeases()
    const a = candidate(leases, 'a')
    a.election.start()
    await pass(0)
    leases.write({ holderIdentity: 'thief', leaseDurationSeconds: 15 })
    await pass(2000)
    expect(a.changes).toEqual([true, false])
    expect(leases.stored!.spec['holderIdentity']).toBe('thief')
  })

  it('a leader goes on where the Lease was touched or removed, or nobody is in it', async () => {
    const leases = new FakeLeases()
    const a = candidate(leases, 'a')
    a.election.start()
    await pass(0)
    leases.write(leases.stored!.spec)
    await pass(2000)
    leases.stored = undefined
    await pass(2000)
    leases.write({ ...leases.stored!.spec, holderIdentity: '' })
    await pass(2000)
    expect(a.changes).toEqual([true])
    expect(leases.stored!.spec['holderIdentity']).toBe('a')
    expect(a.lines.filter(({ level }) => level > 30)).toEqual([])
  })

  it('without permission says so once, is no leader, and tries on', async () => {
    const leases = new FakeLeases()
    const a = candidate(leases, 'a')
    a.line.refusal = new ApiError(403, '403 leases is forbidden: cannot get resource "leases"')
    a.election.start()
    await pass(60_000)
    expect(a.changes).toEqual([])
    expect(a.line.asked.length).toBeGreaterThan(60 / 4.4 - 1)
    const [line, ...more] = a.lines
    expect(line).toMatchObject({ level: 50, lease: 'models/epp-models-llm.llm-d.ai' })
    expect(line!.msg).toContain('no permission')
    expect(line!['reason']).toContain('cannot get resource')
    expect(more).toEqual([])
    a.line.refusal = undefined
    await pass(4500)
    expect(a.changes).toEqual([true])
    // Rights that are taken away end it in time.
    a.line.refusal = new ApiError(403, '403')
    await pass(10_100)
    expect(a.changes).toEqual([true, false])
  })

  it.each([[{}], [{ metadata: {}, spec: {} }], [{ metadata: { resourceVersion: '1' }, spec: { holderIdentity: 1 } }]])(
    'an answer that is no Lease is a failure: %j',
    async answer => {
      const a = candidate(new FakeLeases(), 'a')
      a.line.answer = answer
      a.election.start()
      await pass(60_000)
      expect([a.changes, a.told('can not be had'), a.line.asked.includes('PUT')]).toEqual([[], 1, false])
      a.line.answer = undefined
      await pass(4500)
      expect(a.election.leads).toBe(true)
    },
  )

  it('has names that no two processes share', () => {
    expect(candidateName('pod-1')).toMatch(/^pod-1_[0-9a-f-]{36}$/)
    expect(candidateName('pod-1')).not.toBe(candidateName('pod-1'))
    expect(candidateName(undefined)).toMatch(/^.+_[0-9a-f-]{36}$/)
    expect(candidateName('')).toMatch(/^.+_/)
  })
})
