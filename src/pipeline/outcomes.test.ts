import { expect, it } from '@jest/globals'
import { createOutcomesMemory, Outcomes, OutcomeTotals } from './outcomes.ts'

it('threads add up, and a successor goes on in the memory of its predecessor', () => {
  const [first, second] = [new Outcomes(), new Outcomes()]
  first.routed('a')
  first.routed('b')
  second.routed('b')
  second.refused('saturated')
  second.fellBack++
  const successor = new Outcomes(second.memory)
  successor.routed('b')
  successor.answered('model_list')
  successor.fellBack++
  const totals = new OutcomeTotals([first.memory, second.memory, createOutcomesMemory()])
  expect(totals.routedTo).toEqual(
    new Map([
      ['a', 1],
      ['b', 3],
    ]),
  )
  expect(totals.refusedWith).toEqual(new Map([['saturated', 1]]))
  expect(totals.answeredWith).toEqual(new Map([['model_list', 1]]))
  expect(totals.fellBack).toBe(2)
})

it('labels that have no place are counted together, each family for itself', () => {
  const outcomes = new Outcomes()
  for (let i = 0; i < 5000; i++) outcomes.routed(`cluster ${i}`)
  outcomes.routed('cluster 1')
  outcomes.refused('late')
  outcomes.fellBack++
  const totals = new OutcomeTotals([outcomes.memory])
  expect([...totals.routedTo.values()].reduce((sum, count) => sum + count, 0)).toBe(5001)
  expect(totals.routedTo.get('cluster 1')).toBe(2)
  expect(totals.routedTo.get('other')).toBeGreaterThan(2000)
  expect(totals.refusedWith).toEqual(new Map([['other', 1]]))
  expect(totals.fellBack).toBe(1)
})

it('long labels are cut, at a whole character', () => {
  const outcomes = new Outcomes()
  outcomes.routed('ü'.repeat(300))
  expect([...new OutcomeTotals([outcomes.memory]).routedTo.keys()]).toEqual(['ü'.repeat(127)])
})
