/** Users' own plug-ins of every role, from the configuration to the bytes on a gateway's stream. */
import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { tellUserFaults } from '../../src/inference/scheduling/plugins/user-faults.ts'
import { loadUserPlugins } from '../../src/inference/scheduling/plugins/user-plugins.ts'
import { makeTempFolder, type TempFolder } from '../support/temp-folder.ts'
import { address, PickerRig, pod } from './picker-rig.ts'

const EXAMPLES = join(import.meta.dirname, '..', '..', 'examples', 'plug-ins')
const ALL = readFileSync(join(EXAMPLES, 'all-roles.yaml'), 'utf8')
  .split('\n---\n')
  .find(document => document.includes('kind: EndpointPickerConfig'))!
const PODS = [pod(0, 0), pod(0, 0)]
const REQUEST = '{"model":"m","prompt":"x"}'
const OK = { ':status': '200', 'x-engine': 'e' }

/** Hooks that note what they see, and others that only fail. */
const MODULE = `
globalThis.ownPlugIns = { ended: [], seen: [] }
const fail = () => { throw new Error('no luck') }
export const plugins = kit => [
  kit.requestHook('noting-hook', {}, () => ({
    picked: r => {
      ownPlugIns.seen.push([r.pool, r.path, r.model, r.endpoint, r.header('x-mine'), r.header('x-engine')])
      for (const name of ['x-note', 'content-length', ':path', 'x-gateway-destination-endpoint', 'bad name']) {
        try { r.setHeader(name, '1') } catch (error) { ownPlugIns.seen.push(error.message) }
      }
      try { r.setHeader('x-split', 'a\\r\\nb') } catch (error) { ownPlugIns.seen.push(error.message) }
    },
    responded: r => { ownPlugIns.seen.push(r.header('x-engine')); r.setHeader('X-Reply', 'yes') },
    ended: (r, answered) => { ownPlugIns.ended.push(answered); ownPlugIns.seen.push(r.header('x-engine')) },
  })),
  kit.requestHook('failing-hook', {}, () => ({ picked: fail, responded: fail, ended: fail })),
  kit.producer('failing-producer', {}, () => ({ produce: fail })),
  kit.admitter('failing-admitter', {}, () => ({ admits: fail })),
  kit.admitter('strict-admitter', {}, () => ({ admits: () => false })),
  kit.producer('class-producer', {}, () => new (class { times = 0; produce() { ownPlugIns.seen.push(++this.times) } })()),
  kit.screener('class-screener', {}, () => new (class { slot = -1; begin(c) { this.slot = c.slots[0] } screen(c, kept) { for (let i = 0; i < c.count; i++) kept[i] = c.slots[i] === this.slot ? 1 : 0 } })()),
  kit.screener('failing-screener', {}, () => ({ screen: fail })),
]`

declare global {
  var ownPlugIns: { readonly ended: unknown[]; readonly seen: unknown[] }
}

const config = (...types: readonly string[]) => `
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins: [${types.map(type => `{ type: ${type} }`).join(', ')}]
`

const faults: string[] = []
let folder: TempFolder
beforeAll(async () => {
  folder = await makeTempFolder()
  const file = join(folder.path, 'own.mjs')
  await writeFile(file, MODULE)
  await loadUserPlugins([join(EXAMPLES, 'all-roles.ts'), file])
  tellUserFaults((text, error) => faults.push(`${text}: ${(error as Error).message}`))
})
afterAll(() => folder.remove())

describe('the example of all roles', () => {
  it('works together: the hook counts, the producer tells, the scorer spreads, headers go both ways', () => {
    const rig = new PickerRig(PODS, ALL)
    const ask = () => rig.open({ body: REQUEST })
    const open = [ask(), ask()]
    const picked = open.map(({ answer }) => answer.set['x-picked'])
    expect(new Set(picked)).toEqual(new Set([address(0), address(1)]))
    expect(open[0]!.respond(OK, ['{}']).set).toMatchObject({ 'x-served-tier': 'none' })
    // Its place is free again.
    expect(ask().answer.set['x-picked']).toBe(picked[0])
    expect(faults).toEqual([])
  })

  it('parser: its paths, what its bodies must have, and nothing else', () => {
    const rig = new PickerRig(PODS, ALL)
    const status = (path: string, body: string) => {
      const { refusal } = rig.send({ path, body })
      return refusal === undefined
        ? 200
        : [refusal.status, (JSON.parse(refusal.body) as { error: { code: string } }).error.code]
    }
    expect(status('/any/v2/ask', REQUEST)).toBe(200)
    expect(status('/v2/ask', '{"model":"m"}')).toEqual([400, expect.any(String)])
    expect(status('/v2/ask', '{"prompt":"x"}')).toEqual([400, expect.any(String)])
    expect(status('/v3/ask', REQUEST)).toEqual([400, expect.any(String)])
    expect(status('/v1/completions', REQUEST)).toBe(200)
  })

  it('screener: nobody is left', () => {
    expect(new PickerRig(PODS, ALL).send({ body: REQUEST, headers: { 'x-tier': 'gold' } }).refusal?.status).toBe(503)
  })
})

it('hooks see each event once, with its headers, and set only what is theirs', () => {
  const rig = new PickerRig(PODS, config('noting-hook'))
  ownPlugIns.seen.length = ownPlugIns.ended.length = 0
  const session = rig.open({ path: '/v1/completions?q', headers: { 'x-mine': 'here' }, body: REQUEST })
  const { answer } = session
  expect(answer.set).toMatchObject({ 'x-note': '1' })
  for (const name of ['content-length', ':path', 'x-split']) expect(answer.set[name]).toBeUndefined()
  expect(answer.set['x-gateway-destination-endpoint']).toMatch(/^192\.168\.1\.[12]:8000$/)
  expect(session.respond(OK, ['a', 'b']).set).toMatchObject({ 'x-reply': 'yes' })
  expect(ownPlugIns.seen).toEqual([
    ['default/pool', '/v1/completions?q', 'm', answer.set['x-gateway-destination-endpoint'], 'here', undefined],
    '"content-length" is no header that a hook may set',
    '":path" is no header that a hook may set',
    '"x-gateway-destination-endpoint" is no header that a hook may set',
    '"bad name" is no header that a hook may set',
    '"x-split": no value of a header',
    'e',
    undefined,
  ])
  expect(ownPlugIns.ended).toEqual([true])
})

it('may be objects of classes', () => {
  const rig = new PickerRig(PODS, config('class-producer', 'class-screener'))
  ownPlugIns.seen.length = 0
  const picked = Array.from({ length: 6 }, () => rig.send({ body: REQUEST }).set['x-gateway-destination-endpoint'])
  expect(new Set(picked).size).toBe(1)
  expect(ownPlugIns.seen).toEqual([1, 2, 3, 4, 5, 6])
})

describe('what fails', () => {
  it('is told once, and requests go on', () => {
    const rig = new PickerRig(PODS, config('failing-hook', 'failing-producer', 'failing-admitter', 'queue-scorer'))
    faults.length = 0
    for (let i = 0; i < 3; i++) {
      const session = rig.open({ body: REQUEST })
      expect(session.answer.refusal).toBeUndefined()
      expect(session.respond(OK, ['{}']).ended).toBe(true)
    }
    expect(rig.inFlight).toBe(0)
    expect(faults.map(text => /"(.*)": (\w+) has failed.*: no luck$/.exec(text)?.slice(1).join(' '))).toEqual([
      'failing-producer produce',
      'failing-admitter admits',
      'failing-hook picked',
      'failing-hook responded',
      'failing-hook ended',
    ])
  })

  it('of a screener refuses the request', () => {
    const rig = new PickerRig(PODS, config('failing-screener'))
    expect(() => rig.send({ body: REQUEST })).toThrow()
    expect(rig.inFlight).toBe(0)
  })

  it('an admitter that says no is 429, whatever the priority', () => {
    expect(new PickerRig(PODS, config('strict-admitter')).send({ body: REQUEST }).refusal?.status).toBe(429)
  })
})
