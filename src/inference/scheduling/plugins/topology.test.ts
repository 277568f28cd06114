import { describe, expect, it } from '@jest/globals'
import { pluginType } from './registry.ts'
import type { CandidateFacts } from '../testing.ts'
import { keptBy, pluginScores } from './testing.ts'

const LABELS = pluginType('topology-extractor')!.parameters.parse({})
const at = (host?: string, rack?: string, zone?: string, region?: string) => ({
  labels: {
    ...(host === undefined ? {} : { 'kubernetes.io/hostname': host }),
    ...(rack === undefined ? {} : { 'topology.kubernetes.io/rack': rack }),
    ...(zone === undefined ? {} : { 'topology.kubernetes.io/zone': zone }),
    ...(region === undefined ? {} : { 'topology.kubernetes.io/region': region }),
  },
})
const facts = [
  at('h1', 'r1', 'z1', 'e1'),
  at('h1', 'r1', 'z1', 'e1'),
  at('h2', 'r1', 'z1', 'e1'),
  at('h3', 'r2', 'z1', 'e1'),
  at('h4', 'r3', 'z2', 'e1'),
  at('h5', 'r4', 'z3', 'e2'),
  at(),
]

describe('topology-affinity-scorer', () => {
  const scores = (peer: number, given: readonly CandidateFacts[] = facts, labels: unknown = LABELS) =>
    pluginScores('topology-affinity-scorer', { labels }, given, {}, { peer })

  it('goes by the nearest place that both share', () => {
    expect(scores(0)).toEqual([1, 1, 0.2, 0.05, 0.02, 0, 0])
  })

  it('is 0 without an earlier choice, or where nothing is known of it', () => {
    expect(scores(-1)).toEqual([0, 0, 0, 0, 0, 0, 0])
    expect(scores(6)).toEqual([0, 0, 0, 0, 0, 0, 0])
  })

  it('takes no empty value for a place', () => {
    expect(scores(0, [at(''), at('')])).toEqual([0, 0])
  })

  it('knows no place without an extractor', () => {
    expect(pluginScores('topology-affinity-scorer', {}, facts, {}, { peer: 0 })).toEqual([0, 0, 0, 0, 0, 0, 0])
  })

  it('reads the labels that the extractor is told', () => {
    const labels = pluginType('topology-extractor')!.parameters.parse({ rack: 'nvlink' })
    const racks = ['a', 'b', 'a'].map(nvlink => ({ labels: { nvlink } }))
    expect(scores(0, racks, labels)).toEqual([0.2, 0, 0.2])
  })
})

describe('topology-affinity-filter', () => {
  const kept = (peer: number, minAffinity?: string, given = facts) =>
    keptBy('topology-affinity-filter', { labels: LABELS, ...(minAffinity && { minAffinity }) }, given, {}, 1000, {
      peer,
    })

  it.each([
    [undefined, [0, 1]],
    ['host', [0, 1]],
    ['rack', [0, 1, 2]],
    ['zone', [0, 1, 2, 3]],
    ['region', [0, 1, 2, 3, 4]],
  ])('%s', (minAffinity, expected) => {
    expect(kept(0, minAffinity)).toEqual(expected)
  })

  it('keeps all without an earlier choice, where nothing is known of it, or where none is near', () => {
    const all = [0, 1, 2, 3, 4, 5, 6]
    expect(kept(-1)).toEqual(all)
    expect(kept(6)).toEqual(all)
    expect(keptBy('topology-affinity-filter', {}, facts, {}, 1000, { peer: 0 })).toEqual(all)
  })
})
