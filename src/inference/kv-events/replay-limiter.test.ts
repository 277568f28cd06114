import { expect, it } from '@jest/globals'
import { ReplayLimiter } from './replay-limiter.ts'

it('lets so many in at once, and so many of a host; who waits for no host with too many goes first', () => {
  const limiter = new ReplayLimiter(3, 2)
  const begun: string[] = []
  const leave = new Map(
    ['a1', 'a2', 'a3', 'b1', 'b2', 'c1'].map(name => [name, limiter.enter(name[0]!, () => begun.push(name))]),
  )
  expect(begun).toEqual(['a1', 'a2', 'b1'])
  leave.get('b1')!()
  expect(begun).toEqual(['a1', 'a2', 'b1', 'b2'])
  // Twice is once.
  leave.get('b1')!()
  leave.get('a1')!()
  expect(begun.at(-1)).toBe('a3')
  leave.get('c1')!()
  for (const name of ['a2', 'a3', 'b2']) leave.get(name)!()
  expect(begun).toEqual(['a1', 'a2', 'b1', 'b2', 'a3'])
  for (const name of ['d1', 'd2', 'e1']) limiter.enter(name[0]!, () => begun.push(name))
  expect(begun.slice(-3)).toEqual(['d1', 'd2', 'e1'])
})
