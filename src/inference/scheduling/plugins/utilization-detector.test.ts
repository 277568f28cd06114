import { expect, it } from '@jest/globals'
import { keptBy } from './testing.ts'

const FACTS = [{ waiting: 4, kvUsage: 0.79 }, { waiting: 5 }, { kvUsage: 0.8 }]
/** The scrapes of `FACTS` began at 1000. */
const keep = (parameters: Record<string, unknown>, facts = FACTS, nowMs = 1000) =>
  keptBy('utilization-detector', parameters, facts, {}, nowMs)

it('utilization-detector, as a filter, keeps what is below both thresholds', () => {
  expect(keep({})).toEqual([0])
  expect(keep({ queueDepthThreshold: 6 })).toEqual([0, 1])
  expect(keep({ kvCacheUtilThreshold: 0.9 })).toEqual([0, 2])
  expect(keep({ headroom: 0.25 })).toEqual([0, 1, 2])
})

it('utilization-detector keeps all where none would stay: too loaded or too old', () => {
  expect(
    keep({}, [
      { waiting: 9, kvUsage: 0 },
      { waiting: 5, kvUsage: 0 },
    ]),
  ).toEqual([0, 1])
  expect(keep({}, FACTS, 1200)).toEqual([0])
  expect(keep({}, FACTS, 1201)).toEqual([0, 1, 2])
  expect(keep({ metricsStalenessThreshold: '1s' }, FACTS, 1900)).toEqual([0])
})

it('utilization-detector refuses thresholds that are none', () => {
  for (const parameters of [
    { queueDepthThreshold: 0 },
    { kvCacheUtilThreshold: 1.5 },
    { metricsStalenessThreshold: '0s' },
    { metricsStalenessThreshold: 'soon' },
    { headroom: -1 },
    { maxEndpointSaturation: 0.5 },
  ])
    expect(() => keep(parameters)).toThrow()
})
