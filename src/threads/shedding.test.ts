import { expect, it } from '@jest/globals'
import { Shedding, type ThreadLoad } from './shedding.ts'

const load = (utilisation: number, connections = 4): ThreadLoad => ({ utilisation, connections })

/** The choices of `seconds` looks. */
function choices(loads: readonly ThreadLoad[], seconds: number): (number | undefined)[] {
  const shedding = new Shedding(loads.length)
  return Array.from({ length: seconds }, (_, second) => shedding.look(loads, second * 1000))
}

it('a thread that stays clearly above the others sheds after some seconds, and not again at once', () => {
  const chosen = choices([load(0.2), load(0.95)], 12)
  expect(chosen.slice(0, 2)).toEqual([undefined, undefined])
  expect(chosen.filter(choice => choice !== undefined)).toEqual([1, 1])
})

it.each([
  ['all are as busy', [load(0.9), load(0.95)]],
  ['nobody is busy', [load(0.05), load(0.4)]],
  ['it has one connection', [load(0.1), load(1, 1)]],
  ['it is alone', [load(1)]],
])('nobody sheds when %s', (_why, loads) => {
  expect(new Set(choices(loads, 20))).toEqual(new Set([undefined]))
})

it('a peak is no overload', () => {
  const shedding = new Shedding(2)
  for (let second = 0; second < 20; second++)
    expect(shedding.look([load(0.1), load(second % 3 === 0 ? 0.2 : 1)], second * 1000)).toBeUndefined()
})
