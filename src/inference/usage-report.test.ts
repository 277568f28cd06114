import { describe, expect, it } from '@jest/globals'
import { createUsageReport, expressionProblem, type TokenCounts } from './usage-report.ts'

const USAGE: TokenCounts = { input: 10, output: 20, cached: -1, total: 30 }

describe('reports of usage (epp.md §3.11)', () => {
  it.each([
    ['usage.completion_tokens', 'has(usage.completion_tokens)', USAGE, 20],
    ['usage.prompt_tokens + 2.0 * usage.completion_tokens', undefined, USAGE, 50],
    ['usage.total_tokens / 7.0', undefined, USAGE, 4],
    ['42', undefined, USAGE, 42],
    ['usage.prompt_tokens', 'usage.prompt_tokens > 10.0', USAGE, undefined],
    // Nothing is told of nothing, as in llm-d.
    ['usage.prompt_tokens', undefined, { ...USAGE, input: -1 }, undefined],
    ['usage.prompt_tokens_details.cached_tokens', undefined, USAGE, undefined],
    ['usage.prompt_tokens_details.cached_tokens', undefined, { ...USAGE, cached: 8 }, 8],
    ['usage.prompt_tokens / (usage.prompt_tokens - 10.0)', undefined, USAGE, undefined],
  ])('%s where %s', (expression, condition, usage, expected) => {
    const plan = { namespace: 'envoy.lb', name: 'cost', expression, ...(condition === undefined ? {} : { condition }) }
    expect(createUsageReport(plan).of(usage)).toBe(expected)
  })

  it.each([
    ['1 +', 'number', /^is no CEL: /],
    ['', 'number', /^is no CEL: /],
    ['cost.tokens', 'number', /^does not work: unresolved attribute/],
    ['tokens(usage)', 'number', /^does not work: unbound function/],
    ['usage.prompt_tokens * 2', 'number', /say 2\.0, not 2/],
    ['usage.prompts', 'number', /^does not work: field not found: prompts/],
    ['usage.prompt_tokens > 1.0', 'number', /^must be a number$/],
    ['usage.prompt_tokens', 'boolean', /^must be a boolean$/],
  ] as const)('"%s" is no %s', (text, result, problem) => {
    expect(expressionProblem(text, result)).toMatch(problem)
  })
})
