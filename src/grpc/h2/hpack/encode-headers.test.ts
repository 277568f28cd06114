import { describe, expect, it } from '@jest/globals'
import * as fc from 'fast-check'
import { encodeHeaders } from './encode-headers.ts'
import { PlainDecoder } from './plain-hpack.testing.ts'

const decode = (block: Uint8Array) => new PlainDecoder().decode(block).flat()

describe('encodeHeaders', () => {
  it('uses static entries whole or for their names', () => {
    const head = encodeHeaders([':status', '200', 'content-type', 'application/grpc', 'x', 'y'])
    expect(Buffer.from(head).toString('hex')).toBe(
      `880f1010${Buffer.from('application/grpc').toString('hex')}00017801${Buffer.from('y').toString('hex')}`,
    )
    expect(Buffer.from(encodeHeaders([':status', '405', 'allow', 'POST'])).toString('hex')).toBe(
      '08033430350f0704504f5354',
    )
  })

  it('gives the fields back, in their order, and inserts nothing', () => {
    const octets = fc.string({
      unit: fc.integer({ min: 0, max: 255 }).map(code => String.fromCharCode(code)),
      maxLength: 300,
    })
    const name = fc.oneof(fc.constantFrom(':status', 'content-type', 'www-authenticate', 'grpc-message'), octets)
    const value = fc.oneof(fc.constantFrom('200', '500', '', 'gzip, deflate'), octets)
    fc.assert(
      fc.property(fc.array(fc.tuple(name, value), { maxLength: 12 }), fields => {
        const block = encodeHeaders(fields.flat())
        const decoder = new PlainDecoder()
        expect(decoder.decode(block)).toEqual(fields)
        expect(decoder.table.entries).toEqual([])
      }),
    )
  })

  it.each([126, 127, 128, 254, 255, 256, 16_510, 16_511, 70_000])('knows lengths like %d', length => {
    expect(decode(encodeHeaders(['x', 'v'.repeat(length)]))).toEqual(['x', 'v'.repeat(length)])
  })

  it('of nothing is nothing', () => {
    expect(encodeHeaders([])).toHaveLength(0)
  })
})
