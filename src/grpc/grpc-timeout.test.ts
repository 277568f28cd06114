import { describe, expect, it } from '@jest/globals'
import { parseGrpcTimeout } from './grpc-timeout.ts'

describe('parseGrpcTimeout', () => {
  it.each([
    ['1H', 3_600_000],
    ['2M', 120_000],
    ['3S', 3000],
    ['250m', 250],
    ['1500u', 2],
    ['1n', 1],
    ['0m', 0],
    ['99999999S', 99_999_999_000],
  ])('%s is %i ms', (value, expected) => expect(parseGrpcTimeout(value)).toBe(expected))

  it.each(['', '1', 'S', '1s', '-1S', '1.5S', ' 1S', '123456789S', '1S, 1S'])('refuses %j', value =>
    expect(parseGrpcTimeout(value)).toBeUndefined(),
  )
})
