import { describe, expect, it } from '@jest/globals'
import { Random } from '../random.ts'
import { pickMaxScores } from './max-score-picker.ts'

function pick(scores: readonly number[], wanted: number, random = new Random(1)): [number[], number[]] {
  const out = new Int32Array(8)
  const taken = new Float64Array(8)
  const length = pickMaxScores(Float64Array.from(scores), scores.length, wanted, random, out, taken)
  return [[...out.subarray(0, length)], [...taken.subarray(0, length)]]
}

describe('pickMaxScores', () => {
  it('takes the best, in order', () => {
    expect(pick([1, 5, 3, -2], 3)).toEqual([
      [1, 2, 0],
      [5, 3, 1],
    ])
  })

  it('takes no more than there are, or than fit', () => {
    expect(pick([1, 2], 5)[0]).toEqual([1, 0])
    expect(pick([], 5)[0]).toEqual([])
    expect(
      pick(
        Array.from({ length: 20 }, (_, i) => i),
        20,
      )[0],
    ).toHaveLength(8)
  })

  it('spreads equal scores evenly over every place of the list, wherever they stand', () => {
    const random = new Random(7)
    // 1, 2 and 6 are best, the others second.
    const scores = [3, 9, 9, 3, 3, 3, 9]
    const rounds = 6000
    const first = new Map<number, number>()
    const fourth = new Map<number, number>()
    for (let i = 0; i < rounds; i++) {
      const [picked] = pick(scores, 4, random)
      first.set(picked[0]!, (first.get(picked[0]!) ?? 0) + 1)
      fourth.set(picked[3]!, (fourth.get(picked[3]!) ?? 0) + 1)
    }
    expect([...first.keys()].sort((a, b) => a - b)).toEqual([1, 2, 6])
    for (const count of first.values()) expect(Math.abs(count / rounds - 1 / 3)).toBeLessThan(0.03)
    expect(fourth.size).toBe(4)
    for (const count of fourth.values()) expect(Math.abs(count / rounds - 1 / 4)).toBeLessThan(0.03)
  })

  it('is repeatable by its seed', () => {
    const run = (seed: number) => {
      const random = new Random(seed)
      return Array.from({ length: 50 }, () => pick([1, 1, 1, 1], 1, random)[0][0])
    }
    expect(run(3)).toEqual(run(3))
    expect(run(3)).not.toEqual(run(4))
  })
})
