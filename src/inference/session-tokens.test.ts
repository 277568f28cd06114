import { expect, it } from '@jest/globals'
import { SessionTokens } from './session-tokens.ts'
import { LocalPool, poolPlan } from './testing.ts'

const base64 = (text: string) => Buffer.from(text).toString('base64')

it('tokens name pods and ranks; addresses where there is no pod', () => {
  const endpoints = [
    { address: '10.0.0.1:8000', labels: {}, pod: 'a', rank: 0 },
    { address: '10.0.0.2:8000', labels: {}, pod: 'b', rank: 0 },
    { address: '10.0.0.2:8001', labels: {}, pod: 'b', rank: 1 },
    { address: '10.0.0.3:8000', labels: {} },
  ]
  const { table } = new LocalPool({ ...poolPlan([]), endpoints }, { releaseBy: 'response' })
  const tokens = new SessionTokens('team/pool', [...endpoints, { address: '10.9.9.9:1', labels: {} }], table)
  const slot = (address: string) => table.slotOf(address)!
  expect(tokens.of(slot('10.0.0.2:8001'))).toBe(base64('team/b-rank-1'))
  expect(tokens.of(slot('10.0.0.3:8000'))).toBe(base64('team/10.0.0.3:8000'))
  for (const { address } of endpoints) expect(tokens.slotOf(tokens.of(slot(address))!)).toBe(slot(address))
  // As llm-d names a pod of one rank; which rank of several is meant nobody knows.
  expect(tokens.slotOf(base64('team/a'))).toBe(slot('10.0.0.1:8000'))
  expect(tokens.slotOf(base64('team/b'))).toBe(-1)
  expect(tokens.slotOf(base64('other/a'))).toBe(-1)
  for (const nonsense of ['', '%%%', 'x'.repeat(10_000), base64('team/10.9.9.9:1')])
    expect(tokens.slotOf(nonsense)).toBe(-1)
})
