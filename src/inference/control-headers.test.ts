import { expect, it } from '@jest/globals'
import { headersOf } from './scheduling/plugins/testing.ts'
import { findSystemOwned, modelRewrite, prefersAvailable, tpotTarget, ttftTarget } from './control-headers.ts'

it('takes present names before deprecated ones', () => {
  const both = headersOf({ 'x-gateway-model-name-rewrite': 'old', 'x-llm-d-model-name-rewrite': 'new' })
  expect(modelRewrite(both)).toBe('new')
  expect(modelRewrite(headersOf({ 'x-gateway-model-name-rewrite': 'old' }))).toBe('old')
  expect(modelRewrite(headersOf({ 'x-llm-d-model-name-rewrite': '' }))).toBeUndefined()
  expect(ttftTarget(headersOf({ 'x-slo-ttft-ms': '300', 'x-llm-d-slo-ttft-ms': '250.5' }))).toBe(250.5)
  expect(tpotTarget(headersOf({ 'x-slo-tpot-ms': '30' }))).toBe(30)
})

it.each(['', '-1', 'soon', 'NaN', 'Infinity', '1e9', '0x10', '9'.repeat(400)])('takes %j for no target', value => {
  expect(ttftTarget(headersOf({ 'x-llm-d-slo-ttft-ms': value }))).toBe(0)
})

it.each([
  ['if-available', true],
  ['If-Available; wait=3', true],
  ['respond-async, if-available', true],
  ['if-available-or-not', false],
  ['', false],
])('reads Prefer: %s as %s', (value, expected) => {
  expect(prefersAvailable(headersOf({ prefer: value }))).toBe(expected)
})

it('finds the headers that no client may set', () => {
  const names: string[] = []
  findSystemOwned(headersOf({ 'x-prefiller-host-port': '169.254.169.254:80', 'x-request-id': '1' }), names)
  expect(names).toEqual(['x-prefiller-host-port'])
})
