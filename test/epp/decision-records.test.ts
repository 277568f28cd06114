import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { PassThrough } from 'node:stream'
import { replayCommand } from '../../src/cli/replay.ts'
import type { RecordOptions } from '../../src/pipeline/decision-records.ts'
import { makeTempFolder, type TempFolder } from '../support/temp-folder.ts'
import { destination } from './picker-answer.ts'
import { address, HERMETIC, PickerRig, pod } from './picker-rig.ts'
import { subset } from './picker-session.ts'

const KEY = 'a key that nobody guesses'
const PODS = [pod(3, 0.2), pod(0, 0.1), pod(10, 0.2)]
const REQUEST = { body: '{"model":"m","prompt":"very secret words"}' }
const OFF: RecordOptions = { scores: false, explainKey: undefined, traceShare: 0 }
const OK = { ':status': '200' }
const rigWith = (records: Partial<RecordOptions>, config = HERMETIC) =>
  new PickerRig(PODS, config, '', { ...OFF, ...records })

describe('scores in dynamic metadata (epp.md §8.1, H21)', () => {
  const scoresOf = (rig: PickerRig, call = {}) =>
    (rig.send({ ...REQUEST, ...call }).metadata['envoy.lb'] as Record<string, unknown>)[
      'x-gateway-destination-endpoint-scores'
    ]

  it('has a number for each candidate that was scored', () => {
    const rig = rigWith({ scores: true })
    const scores = scoresOf(rig) as Record<string, number>
    expect(Object.keys(scores).toSorted()).toEqual([address(0), address(1), address(2)])
    expect(scores[address(0)]).toBeCloseTo(0.7 + 0.8 + 0.8)
    expect(scores[address(1)]).toBeCloseTo(1 + 0.9 + 0.8)
    expect(scores[address(2)]).toBeCloseTo(0 + 0.8 + 0.8)
    expect(destination(rig.send(REQUEST))).toBe(address(1))
    const few = scoresOf(rig, { metadata: subset([address(0), address(2)]) }) as Record<string, number>
    expect(Object.keys(few).toSorted()).toEqual([address(0), address(2)])
  })

  it('is absent where it is off, and where nothing was scored', () => {
    expect(scoresOf(new PickerRig(PODS))).toBeUndefined()
    expect(scoresOf(rigWith({}))).toBeUndefined()
    const unscored = 'apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins: [{ type: random-picker }]\n'
    expect(scoresOf(rigWith({ scores: true }, unscored))).toBeUndefined()
  })

  it('is told of each request anew', () => {
    const rig = rigWith({ scores: true })
    const first = scoresOf(rig) as Record<string, number>
    rig.scrape([pod(0, 0), pod(9, 0.9), pod(9, 0.9)])
    const second = scoresOf(rig) as Record<string, number>
    expect(second[address(0)]).not.toBe(first[address(0)])
  })
})

describe('x-signalbox-explain', () => {
  const asked = (key: string) => ({ ...REQUEST, headers: { 'x-signalbox-explain': key } })

  it('tells candidates, scores and the reason to whom has the key', () => {
    const session = rigWith({ explainKey: KEY }).open(asked(KEY))
    expect(session.answer.removed).toContain('x-signalbox-explain')
    const { set } = session.respond(OK, ['{}'])
    const told = JSON.parse(set['x-signalbox-decision']!) as {
      micros: number
      profiles: {
        picked: string[]
        reason: string
        scorers: object[]
        candidates: { address: string; scores: number[] }[]
      }[]
    }
    expect(told.micros).toBeGreaterThanOrEqual(0)
    expect(told.profiles).toHaveLength(1)
    const [profile] = told.profiles
    expect(profile!.picked[0]).toBe(address(1))
    expect(profile!.reason).toBe('queue-scorer')
    expect(profile!.scorers).toHaveLength(4)
    expect(profile!.candidates.map(candidate => candidate.address)).toEqual([address(1), address(0), address(2)])
    for (const { scores } of profile!.candidates) expect(scores).toHaveLength(4)
    expect(set['x-signalbox-decision']).not.toMatch(/secret/)
  })

  it.each(['', 'another key', `${KEY} `])('tells nothing for the key %j, and takes the header away', key => {
    const session = rigWith({ explainKey: KEY }).open(asked(key))
    expect(session.answer.removed).toContain('x-signalbox-explain')
    expect(session.respond(OK, ['{}']).set).toEqual({})
  })

  it('is off by default', () => {
    const session = rigWith({ scores: true }).open(asked(KEY))
    expect(session.answer.removed).toEqual([])
    expect(session.respond(OK, ['{}']).set).toEqual({})
  })

  it('explains refusals too', () => {
    const filter = `${HERMETIC}- type: label-selector-filter\n  parameters: { matchLabels: { no: body } }\n`
    const { refusal } = rigWith({ explainKey: KEY }, filter).send(asked(KEY))
    expect(refusal!.status).toBe(429)
    const { profiles } = JSON.parse(refusal!.headers['x-signalbox-decision']!) as {
      profiles: { reason: string; candidates: object[] }[]
    }
    expect([profiles[0]!.reason, profiles[0]!.candidates.length]).toEqual(['filtered', 3])
  })

  it('fits into a header, whatever the pool', () => {
    const many = Array.from({ length: 200 }, (_, i) => pod(i, 0.5))
    const session = new PickerRig(many, HERMETIC, '', { ...OFF, explainKey: KEY }).open(asked(KEY))
    const value = session.respond(OK, ['{}']).set['x-signalbox-decision']!
    expect(value.length).toBeLessThanOrEqual(8000)
    expect(JSON.parse(value)).toMatchObject({ profiles: [{ left_out: expect.any(Number) }] })
  })
})

describe('the trace, and its replay', () => {
  let folder: TempFolder
  beforeAll(async () => {
    folder = await makeTempFolder()
  })
  afterAll(() => folder.remove())

  const replay = async (lines: readonly string[], config: string) => {
    const place = join(folder.path, String(Math.random()))
    await mkdir(place)
    await writeFile(join(place, 'trace'), lines.map(line => `${line}\n`).join(''))
    await writeFile(join(place, 'picker.yaml'), config)
    const stdout = new PassThrough()
    const stderr = new PassThrough()
    const status = await replayCommand.run(['--config', join(place, 'picker.yaml'), join(place, 'trace')], {
      stdout,
      stderr,
      signal: new AbortController().signal,
    })
    return {
      status,
      out: String((stdout.read() as Buffer | null) ?? ''),
      err: String((stderr.read() as Buffer | null) ?? ''),
    }
  }
  const traced = (prompts = 20) => {
    const rig = rigWith({ traceShare: 1 })
    for (let i = 0; i < prompts; i++) {
      rig.send({ body: `{"model":"m","prompt":"${`very secret words ${i % 3} `.repeat(50)}"}` })
      rig.now += 10
    }
    return rig.trace
  }

  it('has a line for each sampled pick, with hashes of prompts only', () => {
    const lines = traced()
    expect(lines).toHaveLength(20)
    for (const line of lines) expect(line).not.toMatch(/secret|words/)
    const prompts = lines.map(line => (JSON.parse(line) as { prompt: string }).prompt)
    expect(new Set(prompts).size).toBe(3)
    const rig = rigWith({ traceShare: 0.4 })
    rig.send(REQUEST)
    expect(rig.trace).toEqual([])
  })

  it('is bounded in a second', () => {
    const rig = rigWith({ traceShare: 1 })
    for (let i = 0; i < 250; i++) rig.send(REQUEST)
    expect(rig.trace).toHaveLength(200)
    rig.now += 1000
    rig.send(REQUEST)
    expect(rig.trace).toHaveLength(201)
  })

  it('changes nothing under the configuration that made it', async () => {
    const { status, out } = await replay(traced(), HERMETIC)
    expect(status).toBe(0)
    expect(out).toMatch(/^20 picks, 0 change \(0\.0 %\)\n/)
    expect(out).toMatch(/ {2}queue-scorer: (\d\.\d{3}) → \1, changed by 0\.000\n/)
    expect(out).toMatch(/ {2}prefix-cache-scorer: (\d\.\d{3}) → \1, changed by 0\.000\n/)
  })

  it('tells which picks another configuration changes', async () => {
    const other = `
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: kv-cache-utilization-scorer
- type: header-label-affinity-scorer
  parameters: { headerName: x, labelKey: y }
- type: label-selector-filter
  parameters: { matchExpressions: [{ key: app, operator: Exists }] }
`
    const rig = new PickerRig(
      [pod(0, 0.9), pod(5, 0.1)],
      HERMETIC.replace('- type: kv-cache-utilization-scorer\n', ''),
      '',
      {
        ...OFF,
        traceShare: 1,
      },
    )
    for (let i = 0; i < 30; i++) rig.send({ body: `{"model":"m","prompt":"${i}"}` })
    const { status, out } = await replay([...rig.trace, '{"cut":'], other)
    expect(status).toBe(0)
    expect(out).toMatch(
      /line 1 .* default\/pool: 192\.168\.1\.1:8000 \(queue-scorer\) → 192\.168\.1\.2:8000 \(kv-cache-utilization-scorer\)/,
    )
    expect(out).toMatch(/… and 10 more\n30 picks, 30 change \(100\.0 %\); 1 lines are none\n/)
    // What one side does not have has no score there, and none that counts as 0.
    expect(out).toMatch(/ {2}queue-scorer: 1\.000 → –, changed by –\n/)
    expect(out).toMatch(/ {2}kv-cache-utilization-scorer: – → 0\.100, changed by –\n/)
    expect(out).not.toContain('NaN')
  })

  it('needs no file of endpoints, which the trace has', async () => {
    const discovering = `${HERMETIC}- { type: file-discovery, parameters: { path: /nowhere/endpoints.yaml } }
dataLayer: { discovery: { pluginRef: file-discovery } }
`
    const { status, out, err } = await replay(traced(), discovering)
    expect([status, err]).toEqual([0, ''])
    expect(out).toMatch(/^20 picks, 0 change/)
  })

  it('means are of the picks that had the scorer', async () => {
    const without = traced(10).map(line => JSON.parse(line) as { profiles: { scorers: { type: string }[] }[] })
    for (const { profiles } of without.slice(0, 5))
      for (const profile of profiles) for (const scorer of profile.scorers) scorer.type = `old-${scorer.type}`
    const { out } = await replay(
      without.map(line => JSON.stringify(line)),
      HERMETIC,
    )
    // Half of the picks count before, all after; none counts as 0.
    expect(out).toMatch(/ {2}queue-scorer: (\d\.\d{3}) → \1, changed by 0\.000\n/)
    expect(out).toMatch(/ {2}old-queue-scorer: \d\.\d{3} → –, changed by –\n/)
  })

  it('tells what is wrong with a configuration, and with the call', async () => {
    const bad = await replay(
      traced(1),
      'apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins: [{ type: nonsense }]\n',
    )
    expect(bad.status).toBe(1)
    expect(bad.err).toMatch(/there is no plug-in type "nonsense"/)
    const io = { stdout: new PassThrough(), stderr: new PassThrough(), signal: new AbortController().signal }
    await expect(replayCommand.run(['trace'], io)).rejects.toThrow('--config is missing')
    await expect(replayCommand.run(['--config', 'x'], io)).rejects.toThrow('name a trace')
    await expect(replayCommand.run(['/nowhere', '--config', 'x'], io)).rejects.toThrow('there is no file /nowhere')
  })
})
