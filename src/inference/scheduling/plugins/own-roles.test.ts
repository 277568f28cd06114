import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { Band } from '../../flow-control/band.ts'
import { FlowEntry } from '../../flow-control/flow-entry.ts'
import { createOrdering, createUsageLimit } from '../../flow-control/flow-plugins.ts'
import { createDetector } from '../../flow-control/saturation.ts'
import { EnginePage } from '../../engine-page.ts'
import { OwnPageReader } from '../../own-page.ts'
import type { HookedRequest } from '../request-hook.ts'
import { situation } from '../testing.ts'
import {
  createAdmitter,
  createPluginScorer,
  createProducer,
  createRequestHook,
  createScreener,
  pluginType,
} from './registry.ts'
import { headersOf } from './testing.ts'
import { tellUserFaults } from './user-faults.ts'
import { loadUserPlugins } from './user-plugins.ts'

const EXAMPLE = join(import.meta.dirname, '..', '..', '..', '..', 'examples', 'plug-ins', 'all-roles.ts')
const BROKEN = `
const broken = () => { throw new Error('broken') }
export const plugins = kit => [
  kit.producer('broken-producer', {}, () => ({ produce: broken, adopt: broken, chosen: broken })),
  kit.admitter('broken-admitter', {}, () => ({ admits: broken })),
  kit.screener('broken-screener', {}, () => ({ screen: broken })),
  kit.saturationDetector('broken-detector', {}, () => ({ saturation: broken })),
  kit.saturationDetector('odd-detector', {}, () => ({ saturation: () => NaN })),
  kit.fairness('broken-fairness', {}, () => ({ next: broken, served: broken })),
  kit.fairness('odd-fairness', {}, () => ({ next: () => ({}) })),
  kit.ordering('broken-ordering', {}, () => broken),
  kit.usageLimit('broken-limit', {}, () => ({ ceilings: broken })),
  kit.dataSource('broken-source', {}, () => ({ path: '/', attributes: ['a'], extract: broken })),
  kit.requestHook('broken-hook', {}, () => ({ picked: broken, responded: broken, ended: broken })),
  kit.requestHook('silent-hook', {}, () => ({})),
]`

class Entry extends FlowEntry {
  readonly name: string
  constructor(name: string, fairnessId: string, bytes: number) {
    super({ priority: 0, fairnessId, bytes, timeoutMs: Infinity, ttftTargetMs: Infinity })
    this.name = name
  }
  dispatched(): void {}
  refused(): void {}
}

/** The order in which a band with these policies sends requests of `flow:bytes`. */
function order(fairness: string, ordering: string, requests: readonly string[]): string[] {
  const none = { parameters: {} }
  const policies = { fairness: { type: fairness, ...none }, ordering: { type: ordering, ...none } }
  const band = new Band({ priority: 0, maxBytes: 1e9, maxRequests: 100, ...policies }, 0)
  for (const [sequence, name] of requests.entries()) {
    const [flow, bytes] = name.split(':') as [string, string]
    band.push(Object.assign(new Entry(name, flow, Number(bytes)), { sequence }), 0)
  }
  const sent: string[] = []
  while (band.size > 0) sent.push((band.next(0) as Entry).name)
  return sent
}

/** What a detector says of endpoints with so many running requests. */
function saturation(type: string, running: readonly number[], parameters = {}): number {
  const detector = createDetector({ type, parameters })
  const { table } = situation(running.map(count => ({ running: count })))
  detector.begin()
  for (const slot of running.keys()) detector.add(table, slot, 0)
  return detector.saturation()
}

function read(type: string, page: string): number[] | undefined {
  const custom = ['a', 'temperature'].map(attribute => ({ attribute, spec: { name: attribute, labels: {} } }))
  const names = ['a', 'temperature']
  const reader = new OwnPageReader({ type, parameters: {} }, new EnginePage({ name: 'own', custom }, names), names)
  reader.begin()
  // Any split.
  for (const byte of Buffer.from(page)) reader.take(Buffer.of(byte), 0, 1)
  const values = reader.finish()
  return values && [...values.subarray(0, 2)]
}

const faults: string[] = []
let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'signalbox-roles-'))
  const broken = join(folder, 'broken.mjs')
  await writeFile(broken, BROKEN)
  await loadUserPlugins([EXAMPLE, broken])
  tellUserFaults((text, error) => faults.push(`${text}: ${(error as Error).message}`))
})
afterAll(() => rm(folder, { recursive: true }))

describe('the example', () => {
  it('producer and scorer: by what the hook has counted', () => {
    const { candidates, table } = situation([{}, {}, {}])
    const hook = createRequestHook({ type: 'open-requests-hook', parameters: {} })
    const told: string[] = []
    const request = {
      endpoint: table.address(1)!,
      labels: { tier: 'gold' },
      setHeader: (name: string, value: string) => told.push(`${name}: ${value}`),
    } as unknown as HookedRequest
    const producer = createProducer({ name: 'p', type: 'open-requests-producer', parameters: {} })!
    const scorer = createPluginScorer({ type: 'open-requests-scorer', parameters: {} })
    const scores = () => {
      producer.produce(candidates, table)
      const out = new Float64Array(table.capacity)
      scorer.score(candidates, table, out)
      return [...out.subarray(0, candidates.count)]
    }
    hook.picked(request)
    hook.responded(request)
    expect(told).toEqual([`x-picked: ${table.address(1)}`, 'x-served-tier: gold'])
    expect(scores()).toEqual([1, 0.5, 1])
    // What filters drop takes its value with it.
    candidates.keep(Uint8Array.of(0, 1, 1))
    expect([...candidates.column('open-requests').subarray(0, 2)]).toEqual([1, 0])
    hook.ended(request, true)
    expect(scores()).toEqual([1, 1])
  })

  it('screener: by a header', () => {
    const { candidates, table } = situation([{ labels: { tier: 'gold' } }, { labels: { tier: 'silver' } }, {}])
    const screener = createScreener({ type: 'tier-screener', parameters: { header: 'x-tier' } })
    screener.adopt(table)
    const kept = (headers: Readonly<Record<string, string>>) => {
      const out = Uint8Array.of(1, 1, 1)
      candidates.headers = headersOf(headers)
      screener.screen(candidates, out)
      return [...out]
    }
    expect(kept({ 'x-tier': 'silver' })).toEqual([0, 1, 0])
    expect(kept({})).toEqual([1, 1, 1])
  })

  it('admitter: by the prompt and the priority', () => {
    const { candidates } = situation([{}])
    const admitter = createAdmitter({ type: 'prompt-size-admitter', parameters: { tokens: 100 } })
    const admits = (tokens: number, priority: number) =>
      admitter.admits(Object.assign(candidates, { promptTokens: tokens }), priority)
    expect([admits(100, -1), admits(101, -1), admits(101, 0)]).toEqual([true, false, true])
  })

  it('saturation detector', () => {
    expect(saturation('running-detector', [2, 4], { most: 4 })).toBe(0.75)
  })

  it('flow control', () => {
    const requests = ['a:5', 'a:3', 'a:4', 'b:9', 'b:1']
    expect(order('shortest-flow-policy', 'small-first-policy', requests)).toEqual(['b:1', 'b:9', 'a:3', 'a:4', 'a:5'])
    const ceilings = new Float64Array(3)
    createUsageLimit({ type: 'half-for-others-policy', parameters: {} }).ceilings(0, [1, 0, -1], ceilings)
    expect([...ceilings]).toEqual([1, 0.5, 0.5])
  })

  it('data source', () => {
    expect(read('temperature-source', '{"celsius":71.5}')).toEqual([Number.NaN, 71.5])
    expect(read('temperature-source', '{"celsius":"hot"}')).toEqual([Number.NaN, Number.NaN])
  })

  it('parser', () => {
    expect(pluginType('ask-parser')).toMatchObject({ role: 'parser', apis: { 'v2/ask': { needsModel: true } } })
  })
})

describe('what fails', () => {
  const none = { parameters: {} }

  it('leaves requests alone, and is told once', () => {
    const { candidates, table } = situation([{}, {}])
    faults.length = 0
    for (let turn = 0; turn < 2; turn++) {
      const producer = createProducer({ name: 'p', type: 'broken-producer', ...none })!
      producer.adopt?.(table)
      producer.produce(candidates, table)
      producer.chosen?.(candidates, table, 0)
      expect(createAdmitter({ type: 'broken-admitter', ...none }).admits(candidates, 0)).toBe(true)
      expect(saturation('broken-detector', [9])).toBe(0)
      expect(saturation('odd-detector', [9])).toBe(0)
      expect(order('broken-fairness', 'broken-ordering', ['a:9', 'a:1', 'b:5'])).toEqual(['a:9', 'b:5', 'a:1'])
      expect(order('odd-fairness', 'fcfs-ordering-policy', ['a:9', 'b:5', 'a:1'])).toEqual(['a:9', 'b:5', 'a:1'])
      const ceilings = new Float64Array(2)
      createUsageLimit({ type: 'broken-limit', ...none }).ceilings(0, [1, 0], ceilings)
      expect([...ceilings]).toEqual([1, 1])
      expect(read('broken-source', 'x')).toBeUndefined()
      expect(read('temperature-source', 'no JSON')).toBeUndefined()
      for (const type of ['broken-hook', 'silent-hook']) {
        const hook = createRequestHook({ type, ...none })
        hook.picked({} as HookedRequest)
        hook.responded({} as HookedRequest)
        hook.ended({} as HookedRequest, false)
      }
    }
    const told = faults.map(text => text.replace(/: (.*) has failed; further failures are not logged: .*/, ' $1'))
    expect(told).toEqual([
      'plug-in "broken-producer" adopt',
      'plug-in "broken-producer" produce',
      'plug-in "broken-producer" chosen',
      'plug-in "broken-admitter" admits',
      'plug-in "broken-detector" saturation',
      'plug-in "odd-detector" saturation',
      'plug-in "broken-ordering" the order',
      'plug-in "broken-fairness" next',
      'plug-in "broken-fairness" served',
      'plug-in "odd-fairness" next',
      'plug-in "broken-limit" ceilings',
      'plug-in "broken-source" extract',
      'plug-in "temperature-source" extract',
      'plug-in "broken-hook" picked',
      'plug-in "broken-hook" responded',
      'plug-in "broken-hook" ended',
    ])
  })

  it('of a screener is the request’s: nothing may pass it by', () => {
    const { candidates } = situation([{}])
    const screener = createScreener({ type: 'broken-screener', ...none })
    expect(() => screener.screen(candidates, Uint8Array.of(1))).toThrow('broken')
  })

  it('orders as others do', () => {
    expect(createOrdering({ type: 'edf-ordering-policy', ...none })(new Entry('a', 'a', 1), 7)).toBe(7)
  })
})
