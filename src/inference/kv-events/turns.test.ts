import { expect, it } from '@jest/globals'
import { setImmediate as turn } from 'node:timers/promises'
import { type TurnJob, Turns } from './turns.ts'

function job(name: string, steps: number, spent: number, done: string[], onStep?: () => void): TurnJob {
  let left = steps
  return {
    spent,
    step: () => {
      done.push(name)
      onStep?.()
      return --left > 0
    },
  }
}

it('does what fits into a turn at once, and of the rest so much in every turn, a step of each in order', async () => {
  const turns = new Turns(10)
  const done: string[] = []
  turns.enter(job('a', 5, 4, done))
  expect(done.splice(0)).toEqual(['a', 'a', 'a'])
  turns.enter(job('b', 3, 4, done))
  expect(done).toEqual([])
  await turn()
  expect(done.splice(0)).toEqual(['a', 'b', 'a'])
  await turn()
  expect(done.splice(0)).toEqual(['b', 'b'])
  await turn()
  turns.enter(job('c', 1, 1, done))
  expect(done).toEqual(['c'])
})

it('small ones use up a turn too, one that leaves is done no more, and one may follow from within another', async () => {
  const turns = new Turns(3)
  const done: string[] = []
  const long = job('long', 9, 1, done)
  turns.enter(
    job('first', 1, 1, done, () => {
      turns.enter(long)
      expect(done).toEqual(['first'])
    }),
  )
  expect(done.splice(0)).toEqual(['first', 'long', 'long'])
  turns.enter(job('next', 1, 1, done))
  turns.leave(long)
  await turn()
  expect(done).toEqual(['next'])
})
