import { expect, it } from '@jest/globals'
import { parseLabelSelector } from './label-selector-text.ts'

const LABELS = { app: 'vllm', 'llm-d.ai/role': 'decode', rank: '3', empty: '' }

it.each([
  ['app=vllm', true],
  ['app == vllm', true],
  ['app=sglang', false],
  ['app!=sglang,llm-d.ai/role=decode', true],
  ['no!=x', true],
  ['llm-d.ai/role in (prefill, decode),app', true],
  ['llm-d.ai/role in (prefill)', false],
  ['llm-d.ai/role notin (prefill),no notin (x)', true],
  ['!no', true],
  ['!app', false],
  ['no', false],
  ['toString', false],
  ['empty=', true],
  ['rank>2,rank<4', true],
  ['rank > 3', false],
  ['app>1', false],
])('%s: %s', (text, selects) => {
  expect(parseLabelSelector(text)!(LABELS)).toBe(selects)
})

it.each(['', 'a=b,', '=', 'a in', 'a in (b', 'a in (b c)', 'a=b c', '-a', 'a>x', 'a=(b)'])('%j is none', text => {
  expect(parseLabelSelector(text)).toBeUndefined()
})
