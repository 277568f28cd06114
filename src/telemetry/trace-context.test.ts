import { expect, it } from '@jest/globals'
import { isSampled } from './sampler.ts'
import { formatTraceparent, newSpanId, newTraceId, parseTraceparent } from './trace-context.ts'

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
const SPAN = '00f067aa0ba902b7'

it('reads and writes traceparent', () => {
  const text = `00-${TRACE}-${SPAN}-01`
  expect(parseTraceparent(text)).toEqual({ traceId: TRACE, spanId: SPAN, sampled: true })
  expect(formatTraceparent(parseTraceparent(text)!)).toBe(text)
  expect(parseTraceparent(`00-${TRACE}-${SPAN}-02`)!.sampled).toBe(false)
  // A later version may have more.
  expect(parseTraceparent(`01-${TRACE}-${SPAN}-01-more`)!.traceId).toBe(TRACE)
})

it.each([
  undefined,
  '',
  'x',
  `00-${TRACE}-${SPAN}`,
  `00-${TRACE}-${SPAN}-01-more`,
  `ff-${TRACE}-${SPAN}-01`,
  `00-${TRACE.toUpperCase()}-${SPAN}-01`,
  `00-${'0'.repeat(32)}-${SPAN}-01`,
  `00-${TRACE}-${'0'.repeat(16)}-01`,
  `00-${TRACE}-${SPAN}-01, 00-${TRACE}-${SPAN}-01`,
])('%j is none', text => {
  expect(parseTraceparent(text)).toBeUndefined()
})

it('makes ids that can be read', () => {
  expect(newTraceId()).toMatch(/^[0-9a-f]{32}$/)
  expect(newSpanId()).toMatch(/^[0-9a-f]{16}$/)
})

it('samples by the parent, or by share', () => {
  const parentBased = { parentBased: true, share: 0.5 }
  expect(isSampled(parentBased, true, 0.9)).toBe(true)
  expect(isSampled(parentBased, false, 0.1)).toBe(false)
  expect([0.1, 0.5, 0.9].map(random => isSampled(parentBased, undefined, random))).toEqual([true, false, false])
  expect(isSampled({ parentBased: false, share: 0 }, true, 0)).toBe(false)
})
