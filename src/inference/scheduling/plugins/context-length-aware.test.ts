import { describe, expect, it } from '@jest/globals'
import { keptBy, pluginScores } from './testing.ts'

const TYPE = 'context-length-aware'
const LABEL = 'llm-d.ai/context-length-range'
const range = (value: string, label = LABEL) => ({ labels: { [label]: value } })

describe(TYPE, () => {
  it.each([
    // 0.3 + 0.7 · (0.7 / (1 + 2000 / 10000) + 0.3 · 1000 / 2000)
    ['0-2000', 1000, 0.3 + 0.7 * (0.7 / 1.2 + 0.15)],
    ['0-2000', 0, 0.3 + 0.7 * (0.7 / 1.2 + 0.3)],
    ['0-2000', 2000, 0.3 + 0.7 * (0.7 / 1.2)],
    ['0-10000', 5000, 0.3 + 0.7 * (0.35 + 0.15)],
    ['500-500', 500, 1],
    [' 500 - 500 ', 500, 1],
    ['0-2000', 3000, 0.15],
    ['4000-8000', 3000, 0.15],
    ['4000-8000', 1000, 0.075],
    ['', 1000, 0],
    ['2000', 1000, 0],
    ['0-1-2', 1000, 0],
    ['2000-1000', 1500, 0],
    ['a-b', 1000, 0],
  ])('range %j, %d tokens: %d', (text, promptTokens, score) => {
    expect(pluginScores(TYPE, {}, [range(text)], {}, { promptTokens })).toEqual([expect.closeTo(score, 10)])
  })

  it('one outside never has more than one inside', () => {
    const facts = [range('0-1000000'), range('0-999'), range('1001-2000')]
    const [inside, below, above] = pluginScores(TYPE, {}, facts, {}, { promptTokens: 1000 })
    expect(inside).toBeGreaterThan(0.3)
    expect(Math.max(below!, above!)).toBeLessThan(0.3)
  })

  it('endpoints without a label have one half', () => {
    expect(pluginScores(TYPE, {}, [{}, range('0-1', 'other')], {}, { promptTokens: 9 })).toEqual([0.5, 0.5])
  })

  it('looks at the label it is told', () => {
    expect(pluginScores(TYPE, { label: 'len' }, [range('7-7', 'len')], {}, { promptTokens: 7 })).toEqual([1])
  })

  it('as a filter keeps those in range and those without a label', () => {
    const facts = [range('0-100'), range('101-200'), {}, range('nonsense'), range('200-100')]
    expect(keptBy(TYPE, { enableFiltering: true }, facts, {}, 1000, { promptTokens: 150 })).toEqual([1, 2])
  })
})
