import { setImmediate as turn } from 'node:timers/promises'
import { expect, it } from '@jest/globals'
import { SeriesTotals } from '../telemetry/series-totals.ts'
import { createSeriesMemory, ENTRY_WORDS, SeriesMemory, SeriesWriter } from '../telemetry/shared-series.ts'
import { ClientNames, TICK_MS } from './client-names.ts'
import { Measured } from './measured.ts'
import { Family, MODEL_LABELS, REQUEST_FAMILIES } from './request-families.ts'
import { RequestTotals } from './request-totals.ts'

/** A thread of a fleet that hides responses. */
function play() {
  const memory = createSeriesMemory()
  const writer = new SeriesWriter(REQUEST_FAMILIES, memory)
  const names = new ClientNames(writer, 0)
  const totals = new RequestTotals([memory])
  let minutes = 0
  return {
    totals,
    memory: new SeriesMemory(memory),
    ask: (model: string): string => {
      names.age(minutes * TICK_MS)
      const measured = new Measured()
      measured.model = measured.target = model
      measured.fairnessId = 'tenant'
      const told = names.models.admit(model)
      names.tenants.admit('tenant')
      names.suspect(measured)
      writer.add(writer.series(Family.REQUESTS, [told, told, 'tenant', '0']))
      return told
    },
    wait: () => minutes++,
  }
}

it('names that clients invent all day take no place for good: real ones that come late are told apart', async () => {
  const { ask, wait, totals, memory } = play()
  const told: string[] = []
  let requests = 0
  for (let minute = 0; minute < 24 * 60; minute++) {
    if (minute > 0) wait()
    for (let i = 0; i < 20; i++, requests++) ask(`junk-${minute}-${i}`)
    // Each of these comes again, for ten minutes.
    for (let i = 0; i < 5; i++, requests++) ask(`again-${Math.trunc(minute / 10)}-${i}`)
    if (minute < 18 * 60) continue
    for (let i = 0; i < 50; i++, requests++) told.push(ask(`real-${i}`))
    if (minute % 60 !== 0) continue
    totals.refresh()
    // Once a turn.
    await turn()
  }
  expect(new Set(told.slice(-50)).size).toBe(50)
  totals.refresh()
  const samples = totals.samples(Family.REQUESTS)
  expect(samples.reduce((sum, { value }) => sum + value, 0)).toBe(requests)
  expect(samples.filter(({ labels }) => labels[0]!.startsWith('real')).length).toBe(50)
  expect(memory.size[0]).toBeLessThanOrEqual(1001)
})

it('a tenant that calls itself other takes nothing from the rest', () => {
  const memory = createSeriesMemory()
  const writer = new SeriesWriter(REQUEST_FAMILIES, memory)
  const names = new ClientNames(writer, 0)
  const totals = new SeriesTotals(REQUEST_FAMILIES, [memory])
  let requests = 0
  const ask = (tenant: string, minute: number) => {
    names.age(minute * TICK_MS)
    writer.add(writer.series(Family.REQUESTS, ['m', 'm', names.tenants.admit(tenant), '0']))
    requests++
  }
  ask('other', 0)
  for (let i = 0; i < 60; i++) ask(`t${i}`, 0)
  for (let i = 0; i < 1000; i++) ask(`late${i % 7}`, 0)
  for (let minute = 1; minute < 30; minute++) {
    for (let i = 0; i < 100; i++) ask('late3', minute)
    totals.refresh()
    const samples = totals.samples(Family.REQUESTS)
    expect(samples.reduce((sum, { value }) => sum + value, 0)).toBe(requests)
  }
})

it('of names that make place a request looks at a few series, however many there are', () => {
  const memory = createSeriesMemory()
  const writer = new SeriesWriter(REQUEST_FAMILIES, memory)
  const names = new ClientNames(writer, 0)
  const directory = new SeriesMemory(memory).directory.subarray(0, 6000 * ENTRY_WORDS)
  const freed = () => directory.filter((family, at) => at % ENTRY_WORDS === 0 && family < 0).length
  for (let i = 0; i < 50; i++) {
    const model = names.models.admit(`model-${i}`)
    for (let tenant = 0; tenant < 100; tenant++) writer.series(Family.REQUESTS, [model, model, `t${tenant}`, '0'])
  }
  let most = 0
  let folded = 0
  for (let minute = 1; minute <= 12; minute++) {
    for (let request = 0; request < 30; request++) {
      names.models.admit(`late-${request % 10}`)
      const before = freed()
      names.age(minute * TICK_MS)
      const more = freed() - before
      most = Math.max(most, more)
      folded += more
    }
  }
  expect(folded).toBeGreaterThan(500)
  expect(most).toBeLessThanOrEqual(16)
})

it('however long names that clients invent are, and for however long: real ones are told apart', () => {
  const memory = createSeriesMemory()
  const writer = new SeriesWriter(REQUEST_FAMILIES, memory)
  const names = new ClientNames(writer, 0)
  const ofModels = REQUEST_FAMILIES.flatMap(({ labels, type }, family) =>
    type !== 'gauge' && labels.some(label => MODEL_LABELS.has(label)) ? [{ labels, family }] : [],
  )
  const cells = (model: string, rest = 'x'): number[] =>
    ofModels.map(({ labels, family }) =>
      writer.series(
        family,
        labels.map(label => (MODEL_LABELS.has(label) ? model : rest)),
      ),
    )
  for (let minute = 0; minute < 500; minute++) {
    for (let i = 0; i < 120; i++) {
      names.age(minute * TICK_MS)
      cells(names.models.admit(`junk-${minute}-${i}-${'y'.repeat((minute * 131 + i * 71) % 200)}`))
    }
  }
  // What has no place is counted there.
  const others = cells('other', 'other')
  const real = cells(`real-${'z'.repeat(250)}`)
  expect(real.filter((cell, i) => cell === others[i])).toEqual([])
})
