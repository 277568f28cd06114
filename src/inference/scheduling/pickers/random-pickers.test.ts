import { describe, expect, it } from '@jest/globals'
import type { Picker } from '../picker.ts'
import { Random } from '../random.ts'
import { pickRandom } from './random-picker.ts'
import { pickWeightedRandom } from './weighted-random-picker.ts'

const ROUNDS = 8000

/** How often each place of the list went to each candidate. */
function shares(picker: Picker, scores: readonly number[], wanted: number): number[][] {
  const random = new Random(7)
  const out = new Int32Array(8)
  const counts = Array.from({ length: wanted }, () => scores.map(() => 0))
  for (let round = 0; round < ROUNDS; round++) {
    const length = picker(Float64Array.from(scores), scores.length, wanted, random, out, new Float64Array(8))
    expect(length).toBe(Math.min(wanted, scores.length))
    expect(new Set(out.subarray(0, length)).size).toBe(length)
    for (let place = 0; place < length; place++) counts[place]![out[place]!]!++
  }
  return counts.map(each => each.map(count => count / ROUNDS))
}

function expectClose(got: readonly number[], wanted: readonly number[]): void {
  // Six standard deviations of a toss.
  for (const [i, share] of wanted.entries()) expect(Math.abs(got[i]! - share)).toBeLessThan(0.034)
}

describe('random-picker', () => {
  it('gives every candidate the same chance at every place', () => {
    for (const place of shares(pickRandom, [5, 0, -1, 1], 3)) expectClose(place, [0.25, 0.25, 0.25, 0.25])
  })
})

describe('weighted-random-picker', () => {
  it('gives chances in proportion to the scores', () => {
    expectClose(shares(pickWeightedRandom, [1, 3, 0, 4], 1)[0]!, [0.125, 0.375, 0, 0.5])
  })

  it('puts candidates without a score last, and draws among them when there are no others', () => {
    expectClose(shares(pickWeightedRandom, [0, 2], 2)[1]!, [1, 0])
    expectClose(shares(pickWeightedRandom, [0, -1], 1)[0]!, [0.5, 0.5])
  })
})
