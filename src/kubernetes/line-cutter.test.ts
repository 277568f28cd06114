import { describe, expect, it } from '@jest/globals'
import { LineCutter, LineTooLongError } from './line-cutter.ts'

describe('LineCutter', () => {
  const bytes = Buffer.from('eins\n\nzwölf\r\ndrei')

  it.each([1, 2, 3, 100])('cuts lines that come in pieces of %d bytes', size => {
    const cutter = new LineCutter(100)
    const lines: string[] = []
    for (let at = 0; at < bytes.length; at += size) lines.push(...cutter.push(bytes.subarray(at, at + size)))
    expect(lines).toEqual(['eins', 'zwölf\r'])
    expect(cutter.push(Buffer.from('\n'))).toEqual(['drei'])
  })

  it('holds no more than it may', () => {
    const cutter = new LineCutter(4)
    expect(cutter.push(Buffer.from('1234\n123'))).toEqual(['1234'])
    expect(() => cutter.push(Buffer.from('45'))).toThrow(LineTooLongError)
  })
})
