import { expect, it } from '@jest/globals'
import { ErrorValve } from './error-valve.ts'

it('lets some errors of a period through, and tells how many it kept', () => {
  const valve = new ErrorValve(2, 1000)
  expect([5000, 5001, 5002, 5999].map(now => valve.pass(now))).toEqual([0, 0, undefined, undefined])
  expect([6000, 6001, 6002].map(now => valve.pass(now))).toEqual([2, 0, undefined])
  expect(valve.pass(9000)).toBe(1)
})
