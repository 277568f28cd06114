import { expect, it } from '@jest/globals'
import { keptBy } from './testing.ts'

it('the role filters keep endpoints by their role', () => {
  const roles = ['encode', 'prefill', 'decode', 'both', 'encode-prefill', 'prefill-decode', 'encode-prefill-decode']
  const facts = [{}, ...roles.map(role => ({ labels: { 'llm-d.ai/role': role } }))]
  const keep = (type: string) => keptBy(type, {}, facts).map(i => ['none', ...roles][i])
  expect(keep('encode-filter')).toEqual(['encode', 'encode-prefill', 'encode-prefill-decode'])
  expect(keep('prefill-filter')).toEqual([
    'prefill',
    'both',
    'encode-prefill',
    'prefill-decode',
    'encode-prefill-decode',
  ])
  expect(keep('decode-filter')).toEqual(['none', 'decode', 'both', 'prefill-decode', 'encode-prefill-decode'])
})
