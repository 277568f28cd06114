import { describe, expect, it } from '@jest/globals'
import * as fc from 'fast-check'
import { numberIn, readSeries, series } from './series.ts'

function read(text: string): number {
  const bytes = Buffer.from(`7${text}7`)
  return numberIn(bytes, 1, bytes.length - 1)
}

describe('numberIn', () => {
  const decimal = fc
    .tuple(fc.bigInt({ min: 0n, max: 10n ** 18n }), fc.integer({ min: 0, max: 18 }))
    .map(([n, place]) => {
      const digits = n.toString()
      return `${digits.slice(0, place)}.${digits.slice(place)}`
    })
  const any = fc.stringMatching(/^[0-9.+\-einfINFNa xX]{1,32}$/)

  it('says what Number says, to the last bit', () => {
    const text = fc.oneof(decimal, fc.double({ noNaN: true }).map(String), fc.integer().map(String), any)
    fc.assert(
      fc.property(
        text.filter(each => each.length <= 32 && each.trim() !== ''),
        each => expect(read(each)).toBe(Number(each)),
      ),
      { numRuns: 2000 },
    )
  })

  it.each(['', '.', '1.2.3', '1_000', '9'.repeat(33)])('%j is no number', text => {
    expect(read(text)).toBeNaN()
  })
})

describe('readSeries', () => {
  const NAME = Buffer.from('up')
  const pageOf = (line: string) => Buffer.from(`${line}\n"} 5 7\nup 9\n`)

  it.each(['up{a="b\\', 'up{a="b', 'up'])('is not misled by what comes after the line: %j', line => {
    expect(readSeries(pageOf(line), NAME, 0)).toBe(false)
  })

  it.each(['up{a="\\\\\\"}"} 3', 'up 3'])('reads no further than the line: %j', line => {
    expect(readSeries(pageOf(line), NAME, 0)).toBe(true)
    expect(series).toMatchObject({ value: 3, timestamp: 0, end: line.length })
  })
})
