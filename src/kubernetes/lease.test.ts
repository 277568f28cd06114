import { describe, expect, it } from '@jest/globals'
import { claimedLease, leasesPath, newLease, readLease, releasedLease } from './lease.ts'

const CLAIM = { holder: 'me', durationMs: 15_000 }
const MICRO_TIME = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/)
const OTHERS = {
  holderIdentity: 'you',
  leaseDurationSeconds: 7,
  acquireTime: '2000-01-01T00:00:00.000000Z',
  renewTime: '2000-01-01T00:00:00.000000Z',
  leaseTransitions: 4,
}
const raw = (spec: unknown) => ({ metadata: { name: 'l', resourceVersion: '5', labels: { a: 'b' } }, spec })

describe('a Lease', () => {
  it('is where coordination.k8s.io has it', () => {
    expect(leasesPath('models')).toBe('/apis/coordination.k8s.io/v1/namespaces/models/leases')
  })

  it('is made with all that client-go writes', () => {
    expect(newLease({ namespace: 'models', name: 'epp' }, CLAIM)).toEqual({
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: { namespace: 'models', name: 'epp' },
      spec: {
        holderIdentity: 'me',
        leaseDurationSeconds: 15,
        acquireTime: MICRO_TIME,
        renewTime: MICRO_TIME,
        leaseTransitions: 0,
      },
    })
  })

  it('is taken from another: a transition more, and what we do not know of it stays', () => {
    const lease = readLease(raw({ ...OTHERS, strategy: 'x' }))
    expect(lease).toMatchObject({ holder: 'you', durationMs: 7000 })
    const taken = claimedLease(lease, CLAIM) as ReturnType<typeof raw>
    expect(taken).toEqual({
      metadata: { name: 'l', resourceVersion: '5', labels: { a: 'b' } },
      spec: {
        holderIdentity: 'me',
        leaseDurationSeconds: 15,
        acquireTime: MICRO_TIME,
        renewTime: MICRO_TIME,
        leaseTransitions: 5,
        strategy: 'x',
      },
    })
    expect(taken.spec).not.toMatchObject({ acquireTime: OTHERS.acquireTime })
  })

  it('is renewed: only the time of the renewal is another', () => {
    const before = { ...OTHERS, holderIdentity: 'me', leaseDurationSeconds: 15 }
    const renewed = claimedLease(readLease(raw(before)), CLAIM) as ReturnType<typeof raw>
    expect(renewed.spec).toEqual({ ...before, renewTime: MICRO_TIME })
    expect(renewed.spec).not.toEqual(before)
  })

  it('is given away', () => {
    const given = releasedLease(readLease(raw({ ...OTHERS, holderIdentity: 'me' }))) as ReturnType<typeof raw>
    expect(given.spec).toMatchObject({ holderIdentity: '', leaseDurationSeconds: 1, leaseTransitions: 4 })
    expect(readLease(given).holder).toBe('')
  })

  it('has a fingerprint of what its holder tells, and nothing else', () => {
    const { fingerprint } = readLease(raw(OTHERS))
    expect(readLease({ metadata: { resourceVersion: '9' }, spec: OTHERS }).fingerprint).toBe(fingerprint)
    expect(readLease(raw({ ...OTHERS, renewTime: 'later' })).fingerprint).not.toBe(fingerprint)
  })

  it.each([
    [undefined, '', undefined],
    [null, '', undefined],
    [{}, '', undefined],
    [{ holderIdentity: null, leaseDurationSeconds: null }, '', undefined],
    [{ holderIdentity: 'you', leaseDurationSeconds: 0 }, 'you', undefined],
    [{ holderIdentity: 'you', leaseDurationSeconds: -3 }, 'you', undefined],
    [{ holderIdentity: 'you', leaseDurationSeconds: '15' }, 'you', undefined],
    [{ holderIdentity: 'you', leaseDurationSeconds: 1.5 }, 'you', undefined],
  ])('may say as little as %j', (spec, holder, durationMs) => {
    const lease = readLease(raw(spec))
    expect(lease).toMatchObject({ holder, durationMs })
    expect(claimedLease(lease, CLAIM)).toMatchObject({ spec: { holderIdentity: 'me', leaseTransitions: 1 } })
  })

  it.each([[-1], ['4'], [2 ** 31 - 1], [1e300]])(
    'counts transitions as the server takes them, after %p too',
    before => {
      const taken = claimedLease(readLease(raw({ ...OTHERS, leaseTransitions: before })), CLAIM) as ReturnType<
        typeof raw
      >
      const { leaseTransitions } = taken.spec as { leaseTransitions: number }
      expect(leaseTransitions).toBeGreaterThan(0)
      expect(leaseTransitions).toBeLessThan(2 ** 31)
    },
  )

  it.each([
    [null],
    ['x'],
    [[]],
    [{}],
    [{ metadata: null }],
    [{ metadata: { resourceVersion: 5 } }],
    [{ metadata: { resourceVersion: '' }, spec: OTHERS }],
    [raw({ holderIdentity: 7 })],
  ])('is not %j', answer => {
    expect(() => readLease(answer)).toThrow(Error)
  })
})
