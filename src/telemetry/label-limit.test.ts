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
    for (const value of aged) limit.forget(value)
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

  it('gives no place to clients that call themselves other: they are one with the rest', () => {
    const limit = new LabelLimit(10, 2)
    for (let minute = 0; minute < 100; minute++) {
      expect(limit.admit('other')).toBe('other')
      limit.prove('other')
      limit.suspect('other')
      expect(limit.tick()).not.toContain('other')
      limit.admit('junk')
      limit.admit('more')
      limit.admit(`asks for a place ${minute}`)
      expect(limit.isAged('other')).toBe(false)
    }
    expect(apart(new LabelLimit(1, 1), ['other', 'other', 'a'])).toBe(3)
  })

  it('a place that becomes free goes to who asked most, and to nobody who asked once', () => {
    const limit = new LabelLimit(10, 1)
    limit.admit('old')
    for (let tick = 0; tick < 9; tick++) limit.tick()
    for (const name of ['once', 'twice', 'twice', 'most', 'most', 'most']) limit.admit(name)
    expect(limit.tick()).toEqual(['old'])
    expect(limit.isAged('old')).toBe(true)
    // Nobody may come in between.
    limit.forget('old')
    expect(['once', 'twice', 'most'].map(name => limit.admit(name))).toEqual(['other', 'other', 'most'])
  })

  it('always tells apart what is configured', () => {
    const limit = new LabelLimit(1, 1)
    limit.admit('x')
    limit.setConfigured(['x', 'y'])
    limit.prove('x')
    limit.admit('none')
    for (let tick = 0; tick < 100; tick++) {
      limit.admit('none')
      expect(limit.tick()).toEqual([])
    }
    limit.setConfigured(['y', 'x'])
    limit.forget('x')
    expect(['x', 'y', 'none', 'w'].map(name => limit.admit(name))).toEqual(['x', 'y', 'none', 'other'])
  })
})
