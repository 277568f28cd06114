import { expect, it } from '@jest/globals'
import { creditOf, MAX_REVOCATIONS, reclaimSize } from './reclaim-size.ts'

const AT = { saturation: 1, ceiling: 1, pending: 0, inFlight: 10, evictable: 10 }

it.each([
  ['at the ceiling: one', {}, 1],
  ['a request too much: one', { saturation: 1.1, inFlight: 11 }, 1],
  ['a little more: two', { saturation: 1.2, inFlight: 11 }, 2],
  ['never more than two', { saturation: 3, inFlight: 30 }, MAX_REVOCATIONS],
  ['large requests: one does it', { saturation: 1.5, inFlight: 3 }, 1],
  ['no more than there are', { saturation: 3, inFlight: 30, evictable: 1 }, 1],
  ['nothing to be had', { evictable: 0 }, 0],
  ['as much is on its way', { saturation: 1.1, inFlight: 11, pending: 0.1 }, 0],
  ['more is on its way', { saturation: 1.1, inFlight: 11, pending: 0.3 }, 0],
  ['the rest of it', { saturation: 1.3, inFlight: 13, pending: 0.15 }, 2],
  ['a low ceiling', { ceiling: 0.8 }, 2],
  ['a band with a lower ceiling than needed', { ceiling: 0.95 }, 1],
  // Something else than the saturation holds the band up.
  ['below the ceiling', { saturation: 0.5 }, 1],
  ['full of what we did not send', { inFlight: 0 }, 1],
])('%s', (_name, changes, expected) => {
  expect(reclaimSize({ ...AT, ...changes })).toBe(expected)
})

it('a request counts for its share', () => {
  expect(creditOf(1.2, 8)).toBeCloseTo(0.15)
  expect(creditOf(1.2, 0)).toBe(0)
})
