import { describe, expect, it } from '@jest/globals'
import { scoresOf } from '../testing.ts'

const [A, B, C] = [11, 22, 33]

describe('lora-affinity-scorer', () => {
  it('prefers where the adapter runs, then room, then where it waits', () => {
    const facts = [
      { maxLora: 2, runningAdapters: [A, B] },
      { maxLora: 2, runningAdapters: [B] },
      { maxLora: 2, runningAdapters: [B, C], waitingAdapters: [A] },
      { maxLora: 2, runningAdapters: [B, C] },
    ]
    expect(scoresOf('lora-affinity-scorer', facts, A)).toEqual([1, 0.8, 0.6, 0])
  })

  it('sees no room where no adapters can be loaded', () => {
    expect(scoresOf('lora-affinity-scorer', [{ maxLora: 0 }, { maxLora: 1 }], A)).toEqual([0, 0.8])
  })

  it('is indifferent for a base model', () => {
    expect(scoresOf('lora-affinity-scorer', [{ maxLora: 1, runningAdapters: [B] }, { maxLora: 1 }], 0)).toEqual([1, 1])
  })
})
