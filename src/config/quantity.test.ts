import { expect, it } from '@jest/globals'
import { parseQuantity } from './quantity.ts'

it.each([
  ['0', 0],
  ['500', 500],
  ['1k', 1000],
  ['64Ki', 65_536],
  ['1G', 1e9],
  ['1.5Gi', 1.5 * 1024 ** 3],
  ['1e9', 1e9],
  ['0.5', 1],
])('%s is %d', (text, value) => {
  expect(parseQuantity(text)).toBe(value)
})

it.each(['', '-1', '1 G', '1g', 'G', '1.', '1Kib', '9E', '1e99', '500m', 'many'])('"%s" is none', text => {
  expect(parseQuantity(text)).toBeUndefined()
})
