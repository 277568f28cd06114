import { describe, expect, it } from '@jest/globals'
import { LabelLimit } from './label-limit.ts'

const names = (name: string, count: number) => Array.from({ length: count }, (_, i) => `${name}${i}`)
const apart = (limit: LabelLimit, values: readonly string[]) =>
  values.filter(value => limit.admit(value) === value).length

describe('LabelLimit', () => {
  it('has places left for what is real, however much junk comes first', () => {
    const limit = new LabelLimit()
    expect(apart(limit, names('junk', 2000))).toBe(50)
    for (const name of names('model', 2000)) {
      if (Number(name.slice(5)) < 950) expect(limit.admit(name)).toBe('other')
      limit.prove(name)
    }
    expect(apart(limit, names('model', 2000))).toBe(950)
    expect(apart(limit, names('junk', 2000))).toBe(50)
  })

  it('tells the first apart at once, and frees their places for others when they prove to be real', () => {
    const limit = new LabelLimit(5, 2)
    expect(apart(limit, ['a', 'b', 'c'])).toBe(2)
    limit.prove('a')
    expect(['a', 'c', 'd'].map(name => limit.admit(name))).toEqual(['a', 'c', 'other'])
    limit.prove('d')
    limit.prove('e')
    limit.prove('f')
    expect(['a', 'b', 'c', 'd', 'e', 'f'].map(name => limit.admit(name))).toEqual(['a', 'b', 'c', 'd', 'e', 'other'])
  })

  it('always tells apart what is configured', () => {
    const limit = new LabelLimit(1, 1)
    limit.setConfigured(['x', 'y'])
    limit.prove('x')
    expect(['x', 'y', 'z', 'w'].map(name => limit.admit(name))).toEqual(['x', 'y', 'z', 'other'])
  })
})
