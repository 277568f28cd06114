import { describe, expect, it } from '@jest/globals'
import { suggest } from './suggest.ts'

describe('suggest', () => {
  it('finds typing errors, swaps and other cases', () => {
    expect(suggest('hostnmae', ['hostname', 'name'])).toBe('hostname')
    expect(suggest('backendrefs', ['backendRefs'])).toBe('backendRefs')
    expect(suggest('weigth', ['weight', 'width'])).toBe('weight')
  })

  it('suggests nothing far away', () => {
    expect(suggest('banana', ['hostname', 'weight'])).toBeUndefined()
    expect(suggest('x', [])).toBeUndefined()
  })
})
