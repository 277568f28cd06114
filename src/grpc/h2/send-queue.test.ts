import { expect, it } from '@jest/globals'
import fc from 'fast-check'
import { bytesInUse, bytesKeptSince } from '../suite/kept-memory.ts'
import { SendQueue } from './send-queue.ts'

const MIB = 1024 * 1024

const text = (queue: SendQueue, count = queue.bytes): string => {
  let taken = ''
  queue.take(count, {
    payload: (bytes, start, end) => {
      taken += Buffer.from(bytes.subarray(start, end)).toString('latin1')
    },
  })
  return taken
}

it('gives back what was added, in order, whatever the pieces and steps', () => {
  const piece = fc.string({ minLength: 1, maxLength: 20 }).filter(each => /^[\x20-\x7e]*$/.test(each))
  const step = fc.oneof(
    fc.record({ add: piece, margin: fc.nat(3) }),
    fc.record({ take: fc.nat(30) }),
    fc.record({ keep: fc.nat(60) }),
    fc.record({ gone: fc.boolean() }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), steps => {
      const queue = new SendQueue()
      let expected = ''
      // What is sent lies somewhere in memory that is written to again.
      let lent = Buffer.alloc(0)
      for (const each of steps) {
        if ('add' in each) {
          const around = '-'.repeat(each.margin)
          lent = Buffer.from(new TextEncoder().encode(`${around}${each.add}${around}`).buffer)
          queue.add(lent, each.margin, lent.length - each.margin)
          expected += each.add
        } else if ('gone' in each) {
          queue.own(lent.buffer)
          lent.fill('!')
        } else if ('take' in each) {
          const count = Math.min(each.take, expected.length)
          expect(text(queue, count)).toBe(expected.slice(0, count))
          expected = expected.slice(count)
        } else {
          queue.truncate(each.keep)
          expected = expected.slice(0, each.keep)
        }
        expect(queue.bytes).toBe(expected.length)
      }
      expect(text(queue)).toBe(expected)
    }),
  )
})

it('owns what was lent, and only that', () => {
  const lent = Buffer.from(new TextEncoder().encode('abcdef').buffer)
  const kept = Buffer.from(new TextEncoder().encode('xyz').buffer)
  const queue = new SendQueue()
  queue.add(lent, 0, 3)
  queue.add(kept, 0, 3)
  queue.add(lent, 3, 6)
  queue.own(lent.buffer)
  lent.fill('-')
  kept.write('K')
  expect(text(queue)).toBe('abcKyzdef')
})

it('looks at no piece twice, however often lent memory goes back', () => {
  let looks = 0
  class Watched extends Uint8Array<ArrayBuffer> {
    override get buffer(): ArrayBuffer {
      looks++
      return super.buffer
    }
  }
  const queue = new SendQueue()
  for (let round = 0; round < 1000; round++) {
    queue.add(new Watched(new ArrayBuffer(10)), 0, 10)
    queue.own(new ArrayBuffer(8))
  }
  // Twice: the piece under way is looked at each time.
  expect(looks).toBeLessThanOrEqual(2000)
  // Also when what was looked at has moved.
  expect(text(queue, 6000)).toHaveLength(6000)
  const lent = Buffer.from(new TextEncoder().encode('lent').buffer)
  queue.add(lent, 0, 4)
  queue.own(lent.buffer)
  lent.fill('-')
  expect(text(queue).slice(-4)).toBe('lent')
})

it('keeps nothing that was taken, although it is never empty', async () => {
  const queue = new SendQueue()
  const before = bytesInUse()
  for (let round = 0; round < 1000; round++) {
    queue.add(Buffer.alloc(64 * 1024), 0, 64 * 1024)
    if (round > 1) queue.take(64 * 1024, { payload: () => {} })
  }
  expect(queue.bytes).toBe(2 * 64 * 1024)
  expect(await bytesKeptSince(before, 8 * MIB)).toBeLessThan(8 * MIB)
})
