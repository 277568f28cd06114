import { describe, expect, it } from '@jest/globals'
import type { FileTexts } from './load-files.ts'
import { TornFiles } from './torn-files.ts'

const read = (text: string): FileTexts => ({ texts: [{ file: 'f', text }], problems: [] })
const MISSING: FileTexts = { texts: [], problems: [{ severity: 'error', code: 'unreadable', message: 'no such file' }] }

describe('a file that is less than half as long as before', () => {
  const make = () => {
    const clock = { now: 0 }
    const files = new TornFiles(500, () => clock.now)
    const judge = (text: string) => files.judge('f', read(text)).texts[0]!.text
    expect(judge('12345678')).toBe('12345678')
    return { clock, files, judge }
  }

  it('is believed when it has stayed so', () => {
    const { clock, files, judge } = make()
    expect([judge('123'), files.waitMs]).toEqual(['12345678', 500])
    clock.now = 499
    expect([judge('123'), files.waitMs]).toEqual(['12345678', 1])
    clock.now = 500
    expect([judge('123'), files.waitMs]).toEqual(['123', undefined])
    expect(judge('12')).toBe('12')
  })

  it('has its time again with each change, and none when it is whole again', () => {
    const { clock, files, judge } = make()
    judge('1')
    clock.now = 400
    expect([judge('12'), files.waitMs]).toEqual(['12345678', 500])
    expect([judge('1234'), files.waitMs]).toEqual(['1234', undefined])
  })

  it('that is gone meanwhile is not waited for', () => {
    const { files, judge } = make()
    judge('1')
    expect(files.judge('f', MISSING)).toBe(MISSING)
    expect(files.waitMs).toBeUndefined()
    expect(judge('1')).toBe('12345678')
  })

  it('and is not followed any more is new when it comes back', () => {
    const { files, judge } = make()
    judge('1')
    files.keepOnly(new Set(['g']))
    expect([files.waitMs, judge('1')]).toEqual([undefined, '1'])
  })
})
