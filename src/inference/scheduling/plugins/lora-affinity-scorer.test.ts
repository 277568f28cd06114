import { expect, it } from '@jest/globals'
import { pluginScores } from './testing.ts'

it('lora-affinity-scorer is indifferent to a base model', () => {
  expect(pluginScores('lora-affinity-scorer', {}, [{ maxLora: 1, runningAdapters: [3] }, {}])).toEqual([1, 1])
})
