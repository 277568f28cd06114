import { expect, it } from '@jest/globals'
import { keptBy } from './testing.ts'

const keep = (value?: string) =>
  keptBy(
    'header-based-testing-filter',
    {},
    [{}, {}, {}],
    value === undefined ? {} : { 'test-epp-endpoint-selection': value },
  )

it('header-based-testing-filter keeps the endpoints of the list, without one none', () => {
  expect(keep('10.0.0.1')).toEqual([1])
  expect(keep(' 10.0.0.2:8000 ,10.0.0.0, 9.9.9.9')).toEqual([0, 2])
  expect(keep('10.0.0.1:8001')).toEqual([])
  expect(keep('256.256.256.256')).toEqual([])
  expect(keep('')).toEqual([])
  expect(keep()).toEqual([])
})
