import { describe, expect, it } from '@jest/globals'
import { parseDuration } from './duration.ts'

describe('parseDuration', () => {
  it.each([
    ['0s', 0],
    ['10s', 10_000],
    ['250ms', 250],
    ['1h30m', 5_400_000],
    ['1h1m1s1ms', 3_661_001],
    ['99999h', 99_999 * 3_600_000],
  ])('reads %s', (text, ms) => expect(parseDuration(text)).toBe(ms))

  it.each(['', '10', '1.5s', '-1s', '10 s', '1d', '123456s', '1h1m1s1ms1s', 's', '1µs'])('refuses %j', text =>
    expect(parseDuration(text)).toBeUndefined(),
  )
})
