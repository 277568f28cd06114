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

  it('what was not seen for long makes place, the proven later; while nobody asks for a place all stay', () => {
    const limit = new LabelLimit(3, 1)
    limit.prove('served')
    limit.admit('junk')
    const ticks = (count: number) => Array.from({ length: count }, () => limit.tick())
    expect(ticks(100).flat()).toEqual([])
    limit.admit('served')
    expect(limit.admit('real')).toBe('other')
    const aged = limit.tick()
    expect(aged).toEqual(['junk'])
    limit.forget(aged)
    expect(['real', 'served', 'junk'].map(name => limit.admit(name))).toEqual(['real', 'served', 'other'])
    limit.prove('more')
    limit.prove('most')
    // Each is seen at another time.
    for (let tick = 0; tick < 59; tick++) {
      limit.admit('real')
      limit.admit('none')
      expect(limit.tick()).toEqual([])
    }
    limit.admit('none')
    expect(limit.tick()).toEqual(expect.arrayContaining(['served', 'more']))
  })

  it('where nobody tells what was served, names that come again later are taken for real', () => {
    const limit = new LabelLimit(100, 2)
    const ask = (name: string) => {
      const told = limit.admit(name)
      limit.suspect(name)
      return told
    }
    expect(['real', 'junk', 'late'].map(ask)).toEqual(['real', 'junk', 'other'])
    expect(['real', 'junk', 'late'].map(ask)).toEqual(['real', 'junk', 'other'])
    limit.tick()
    // Its place among those that nobody knows is free.
    expect(['real', 'late', 'more'].map(ask)).toEqual(['real', 'late', 'other'])
  })

  it('always tells apart what is configured', () => {
    const limit = new LabelLimit(1, 1)
    limit.setConfigured(['x', 'y'])
    limit.prove('x')
    expect(['x', 'y', 'z', 'w'].map(name => limit.admit(name))).toEqual(['x', 'y', 'z', 'other'])
  })
})
