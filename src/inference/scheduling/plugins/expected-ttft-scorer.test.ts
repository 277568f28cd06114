import { expect, it } from '@jest/globals'
import { pluginScores } from './testing.ts'

it('expected-ttft-scorer prefers the endpoint that is free', () => {
  const [busy, free] = pluginScores('expected-ttft-scorer', {}, [{ waiting: 20, running: 8 }, { running: 1 }])
  expect(free!).toBeGreaterThan(busy!)
})
