import { describe, expect, it } from '@jest/globals'
import { TokenIds } from '../inference/kv-events/token-ids.ts'
import { TokenIdScanner } from './token-id-scanner.ts'

const ids = new TokenIds()

/** Prompts as lists of ids; undefined: no prompt of tokens. Read in one piece, then byte by byte. */
function read(json: string, maxTokens = 100): number[][] | undefined {
  const bytes = Buffer.from(json)
  const scanner = new TokenIdScanner(ids, maxTokens)
  const result = (step: number) => {
    scanner.reset()
    for (let at = 0; at < bytes.length; at += step) scanner.feed(bytes, at, Math.min(bytes.length, at + step))
    if (!scanner.complete) return undefined
    let from = 0
    return ids.ends.map(end => [...ids.ids.subarray(from, (from = end))])
  }
  const whole = result(bytes.length)
  expect(result(1)).toEqual(whole)
  return whole
}

describe('TokenIdScanner', () => {
  it('reads one prompt, and several', () => {
    expect(read('[1,20,300]')).toEqual([[1, 20, 300]])
    expect(read(' [ 0 ,\n4294967295 ] ')).toEqual([[0, 4_294_967_295]])
    expect(read('[[1,2],[3],[4,5]]')).toEqual([[1, 2], [3], [4, 5]])
    expect(read('[[1,2],[],[3]]')).toEqual([[1, 2], [3]])
  })

  it.each([
    '"text"',
    '["text"]',
    '[1,"2"]',
    '[1.5]',
    '[-1]',
    '[1e3]',
    '[4294967296]',
    '[null]',
    '[[[1]]]',
    '{"a":1}',
    '5',
  ])('takes %s for no tokens', json => {
    expect(read(json)).toBeUndefined()
  })

  it('has nothing before the end, and of what is empty', () => {
    expect(read('[1,2')).toBeUndefined()
    expect(read('[[1,2]')).toBeUndefined()
    expect(read('[]')).toBeUndefined()
    expect(read('[[]]')).toBeUndefined()
    expect(read('')).toBeUndefined()
  })

  it('takes a second value for none', () => {
    expect(read('[1][2]')).toBeUndefined()
  })

  it('reads up to its limit', () => {
    expect(read('[1,2,3]', 3)).toEqual([[1, 2, 3]])
    expect(read('[1,2,3]', 2)).toBeUndefined()
    expect(ids.count).toBe(0)
  })
})
