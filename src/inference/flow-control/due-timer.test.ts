import { describe, expect, it } from '@jest/globals'
import { waitFor } from '../../../test/support/wait-for.ts'
import { DueTimer } from './due-timer.ts'

const HOUR = 3_600_000

function timer() {
  const played = { fired: 0 }
  const due = new DueTimer(() => played.fired++)
  return { due, played }
}

describe('DueTimer', () => {
  it('is brought forward by an earlier moment, and not put off by a later one; fires once', async () => {
    const { due, played } = timer()
    due.setBy(HOUR, 0)
    due.setBy(1, 0)
    due.setBy(2 * HOUR, 0)
    await waitFor('the earlier moment', () => played.fired > 0)
    await new Promise(resolve => setTimeout(resolve, 20))
    expect(played.fired).toBe(1)
    due.setBy(HOUR, 0)
    due.setBy(-1, 0)
    await waitFor('a moment that has passed', () => played.fired > 1)
  })

  it('never fires for no moment, or once it is cleared, and waits longer than a timer can', async () => {
    const { due, played } = timer()
    due.setBy(Number.POSITIVE_INFINITY, 0)
    due.setBy(1000 * 24 * HOUR, 0)
    due.setBy(5, 0)
    due.clear()
    const long = timer()
    long.due.setBy(1000 * 24 * HOUR, 0)
    await new Promise(resolve => setTimeout(resolve, 30))
    expect([played.fired, long.played.fired]).toEqual([0, 0])
    long.due.clear()
  })
})
