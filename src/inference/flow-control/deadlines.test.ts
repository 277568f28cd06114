import { describe, expect, it } from '@jest/globals'
import { Band } from './band.ts'
import { Deadlines, type WaitTerms } from './deadlines.ts'
import { FlowEntry } from './flow-entry.ts'

const NEVER = Number.POSITIVE_INFINITY
const BAND = new Band(
  {
    priority: 0,
    maxBytes: 1,
    maxRequests: 1,
    fairness: { type: 'global-strict-fairness-policy', parameters: {} },
    ordering: { type: 'fcfs-ordering-policy', parameters: {} },
  },
  0,
)

class Entry extends FlowEntry {
  constructor(arrivedAt: number, timeoutMs = NEVER) {
    super({ priority: 0, fairnessId: 'f', bytes: 1, timeoutMs, ttftTargetMs: NEVER })
    this.arrivedAt = arrivedAt
  }
  dispatched(): void {}
  refused(): void {}
}

/** When each of these is over, in the order in which they are. */
function ends(deadlines: Deadlines): number[] {
  const found: number[] = []
  for (let late = deadlines.due(1e9); late !== undefined; late = deadlines.due(1e9)) {
    found.push(late.key)
    deadlines.remove(late.entry)
  }
  return found
}

function deadlines(terms: WaitTerms, entries: readonly FlowEntry[]): Deadlines {
  const made = new Deadlines()
  made.adopt(terms)
  for (const entry of entries) made.add(entry, BAND)
  return made
}

describe('Deadlines', () => {
  it('the first one first, of the configuration or the request; 0 and infinite are none', () => {
    const terms = { requestTtlMs: 100, noEndpointTtlMs: 0 }
    const some = deadlines(terms, [new Entry(50), new Entry(0), new Entry(70, 10), new Entry(0, 500)])
    expect(some.next).toBe(80)
    expect(some.due(79)).toBeUndefined()
    expect(ends(some)).toEqual([80, 100, 100, 150])
    expect(some.next).toBe(NEVER)
    const endless = deadlines({ requestTtlMs: 0, noEndpointTtlMs: 0 }, [new Entry(0), new Entry(5, 7)])
    expect(ends(endless)).toEqual([12])
    expect(endless.next).toBe(NEVER)
  })

  it('goes over to the time without endpoints and back: who has seen that has the longer one', () => {
    const entry = new Entry(0)
    const one = deadlines({ requestTtlMs: 100, noEndpointTtlMs: 1000 }, [entry])
    expect(one.next).toBe(100)
    one.see(true)
    expect(one.next).toBe(1000)
    one.see(false)
    expect(one.next).toBe(1000)
    one.adopt({ requestTtlMs: 2000, noEndpointTtlMs: 1000 })
    expect(one.next).toBe(2000)
    one.see(true)
    one.add(new Entry(5), BAND)
    expect(ends(one)).toEqual([1000, 1005])
  })
})
