import { describe, expect, it } from '@jest/globals'
import { headersOf } from './scheduling/plugins/testing.ts'
import { PickResult, PickStatus } from './pick.ts'
import type { EndpointPlan, HandlerPlan, NamedProfilePlan, PluginPlan, PoolPlan, SchedulingPlan } from './pool-plan.ts'
import { hasherOf, LocalPool, poolPlan, request, scrape } from './testing.ts'

const plugin = (type: string, parameters: PluginPlan['parameters'] = {}): PluginPlan => ({ type, parameters })
const scorer = (type: string) => ({ ...plugin(type), weight: 1 })
const profile = (name: string, changes: Partial<NamedProfilePlan> = {}): NamedProfilePlan => ({
  name,
  scorers: [scorer('queue-scorer'), scorer('prefix-cache-scorer')],
  filters: [plugin(`${name}-filter`)],
  maxEndpoints: 1,
  ...changes,
})

function disagg(
  parameters: HandlerPlan['parameters'],
  deciders: HandlerPlan['deciders'] = {},
): Partial<SchedulingPlan> {
  const { name, ...primary } = profile('decode')
  return {
    ...primary,
    profileName: name,
    profiles: [profile('prefill'), profile('encode', { maxEndpoints: 2 })],
    handler: { ...plugin('disagg-profile-handler', parameters), deciders },
  }
}

const ALWAYS = { prefill: 'always', encode: 'media' }
const DECIDERS = {
  always: plugin('always-disagg-pd-decider'),
  media: plugin('always-disagg-multimodal-decider'),
  prefix: plugin('prefix-based-pd-decider', { nonCachedTokens: 256, promptTokens: 300 }),
}

/** Endpoints `10.0.0.1:8000`, `10.0.0.2:8000`, …, one a role. */
function pool(roles: readonly string[], scheduling: Partial<SchedulingPlan>): LocalPool {
  const endpoints = roles.map(
    (role, i): EndpointPlan => ({
      address: `10.0.0.${i + 1}:8000`,
      labels: role === '' ? {} : { 'llm-d.ai/role': role },
    }),
  )
  const plan: PoolPlan = { ...poolPlan([], { scheduling }), endpoints }
  return new LocalPool(plan, { releaseBy: 'response' })
}

const out = new PickResult()
const inFlight = (pools: LocalPool) => pools.snapshot().map(each => each.inFlight)

/** Who decodes, prefills and encodes. */
function pick(from: LocalPool, changes: Parameters<typeof request>[0] = {}) {
  expect(from.pick(request(changes), out)).toBe(PickStatus.OK)
  return {
    decode: from.addresses(out),
    prefill: from.listOf(out.prefill),
    encode: from.listOf(out.encode),
  }
}

const ROLES = ['decode', 'prefill', 'prefill', 'encode', 'encode']

describe('disagg-profile-handler', () => {
  it('decodes, prefills and encodes at replicas with these roles, each counted', () => {
    const replicas = pool(ROLES, disagg({ deciders: ALWAYS }, DECIDERS))
    scrape(replicas, 1, { waiting: 5 }, 1000)
    for (const slot of [0, 2, 3, 4]) scrape(replicas, slot, {}, 1000)
    const placed = pick(replicas, { hasMedia: true })
    expect(placed).toEqual({
      decode: '10.0.0.1:8000',
      prefill: '10.0.0.3:8000',
      encode: expect.stringMatching(/^10\.0\.0\.[45]:8000,10\.0\.0\.[45]:8000$/),
    })
    expect(inFlight(replicas)).toEqual([1, 0, 1, 1, 1])
    replicas.inFlight.releaseUnlogged(out.prefill.slots[0]!, out.prefill.generations[0]!)
    expect(inFlight(replicas)).toEqual([1, 0, 0, 1, 1])
  })

  it('encodes for media only, and prefills where the decider says so', () => {
    const replicas = pool(ROLES, disagg({ deciders: { encode: 'media' } }, DECIDERS))
    expect(pick(replicas)).toEqual({ decode: '10.0.0.1:8000', prefill: '', encode: '' })
    expect(inFlight(replicas)).toEqual([1, 0, 0, 0, 0])
  })

  it('a stage without a replica is left out; without one to decode the request fails', () => {
    const decoders = pool(['decode', ''], disagg({ deciders: ALWAYS }, DECIDERS))
    expect(pick(decoders, { hasMedia: true })).toMatchObject({ prefill: '', encode: '' })
    const none = pool(['prefill', 'encode'], disagg({ deciders: ALWAYS }, DECIDERS))
    expect(none.pick(request(), out)).toBe(PickStatus.FILTERED)
    expect(inFlight(none)).toEqual([0, 0])
    expect(pool([], disagg({})).pick(request(), out)).toBe(PickStatus.NO_ENDPOINTS)
  })

  it.each(['decode-first', 'prefill-first'])('no replica prefills for itself (%s)', stageOrder => {
    const deciders = stageOrder === 'decode-first' ? { prefill: 'always' } : {}
    const both = pool(['both'], disagg({ stageOrder, deciders }, DECIDERS))
    expect(pick(both)).toEqual({ decode: '10.0.0.1:8000', prefill: '', encode: '' })
    expect(inFlight(both)).toEqual([1])
  })

  it('prefill-first always prefills, and starts no count when nobody decodes', () => {
    const replicas = pool(ROLES, disagg({ stageOrder: 'prefill-first', deciders: { encode: 'media' } }, DECIDERS))
    expect(pick(replicas, { hasMedia: true })).toMatchObject({
      prefill: expect.stringMatching(/^10\.0\.0\.[23]:8000$/),
      encode: expect.stringContaining(','),
    })
    const none = pool(['prefill'], disagg({ stageOrder: 'prefill-first' }))
    expect(none.pick(request(), out)).toBe(PickStatus.FILTERED)
    expect(inFlight(none)).toEqual([0])
  })

  it('the results of one request do not leak into the next', () => {
    const replicas = pool(ROLES, disagg({ deciders: ALWAYS }, DECIDERS))
    expect(pick(replicas, { hasMedia: true }).encode).not.toBe('')
    expect(pick(replicas).encode).toBe('')
  })

  it('prompts are remembered where they are decoded and where they are prefilled', () => {
    const replicas = pool(['decode', 'prefill', 'prefill'], disagg({ deciders: { prefill: 'always' } }, DECIDERS))
    const prompt = 'x'.repeat(2048)
    const wish = { prefix: hasherOf(prompt), promptBytes: prompt.length }
    const { prefill } = pick(replicas, wish)
    for (let i = 0; i < 8; i++) expect(pick(replicas, wish).prefill).toBe(prefill)
    expect(replicas.cachedBytes(0)).toBe(2048)
  })
})

describe('prefix-based-pd-decider', () => {
  const replicas = () => pool(['decode', 'prefill'], disagg({ deciders: { prefill: 'prefix' } }, DECIDERS))
  const prompt = (bytes: number, changes = {}) => ({
    prefix: hasherOf('x'.repeat(bytes)),
    promptBytes: bytes,
    ...changes,
  })

  it('prefills elsewhere when enough tokens of a prompt that is long enough are not cached', () => {
    // 300 tokens are enough, 299 are not; four bytes each.
    expect(pick(replicas(), prompt(1196)).prefill).toBe('')
    expect(pick(replicas(), prompt(1197)).prefill).toBe('10.0.0.2:8000')
  })

  it('what the decoding replica has cached does not count', () => {
    const pair = replicas()
    expect(pick(pair, prompt(2048)).prefill).toBe('10.0.0.2:8000')
    // 512 tokens are cached now.
    expect(pick(pair, prompt(2048)).prefill).toBe('')
    expect(pick(pair, prompt(2048 + 1020)).prefill).toBe('')
    expect(pick(pair, prompt(2048 + 2048)).prefill).toBe('10.0.0.2:8000')
  })

  it('of a prompt of which only the beginning was read, the length of the body tells', () => {
    const pair = replicas()
    pick(pair, prompt(2048))
    expect(pick(pair, prompt(2048, { promptSize: 100_000 })).prefill).toBe('10.0.0.2:8000')
  })
})

describe('header-profile-handler', () => {
  const { name, ...primary } = profile('decode')
  const byHeader: Partial<SchedulingPlan> = {
    ...primary,
    profileName: name,
    profiles: [profile('prefill')],
    handler: {
      ...plugin('header-profile-handler', { headerName: 'EPP-Profile', defaultProfile: 'decode' }),
      deciders: {},
    },
  }
  const replicas = pool(['decode', 'prefill'], byHeader)

  it.each([
    ['prefill', '10.0.0.2:8000'],
    ['  prefill ', '10.0.0.2:8000'],
    ['decode', '10.0.0.1:8000'],
    ['', '10.0.0.1:8000'],
  ])('runs the profile %j', (value, endpoint) => {
    expect(pick(replicas, { headers: headersOf({ 'epp-profile': value }) })).toMatchObject({ decode: endpoint })
  })

  it('runs the default one without the header, and refuses names that it does not know', () => {
    expect(pick(replicas)).toMatchObject({ decode: '10.0.0.1:8000' })
    expect(replicas.pick(request({ headers: headersOf({ 'epp-profile': 'Prefill' }) }), out)).toBe(
      PickStatus.NO_PROFILE,
    )
    const { profiles: _, ...single } = byHeader
    const one = pool(['decode'], single)
    expect(pick(one, { headers: headersOf({ 'epp-profile': 'whatever' }) })).toMatchObject({ decode: '10.0.0.1:8000' })
  })
})

describe('data-parallel-profile-handler', () => {
  const handler = { ...plugin('data-parallel-profile-handler', { primaryPort: 9000 }), deciders: {} }

  it('sends to the primary port of the picked rank, one address only, and counts the rank', () => {
    const plan = poolPlan(['10.0.0.1:9000', '10.0.0.1:9001', '[fd00::1]:9001'], {
      scheduling: { scorers: [scorer('queue-scorer')], maxEndpoints: 3, handler },
    })
    const ranks = new LocalPool(plan, { releaseBy: 'response' })
    for (const slot of [0, 1, 2]) scrape(ranks, slot, { waiting: slot === 2 ? 0 : 3 }, 1000)
    expect(pick(ranks).decode).toBe('[fd00::1]:9000')
    expect(ranks.addressOf(out.slots[0]!)).toBe('[fd00::1]:9001')
    expect(inFlight(ranks)).toEqual([0, 0, 1])
    // The replica's primary rank is not where the request is.
    expect(ranks.inFlight.served(out, '10.0.0.1:9000')).toBe(false)
    expect(inFlight(ranks)).toEqual([0, 0, 1])
  })

  it('the address follows the slot to its next tenant', () => {
    const scheduling = { scorers: [], handler }
    const ranks = new LocalPool(poolPlan(['10.0.0.1:9001'], { scheduling }), { releaseBy: 'response' })
    expect(pick(ranks).decode).toBe('10.0.0.1:9000')
    ranks.update(poolPlan(['10.0.0.2:9001'], { scheduling }))
    expect(pick(ranks).decode).toBe('10.0.0.2:9000')
  })
})

it('pd-profile-handler: prefill, decode, and the primary port of the decoding rank', () => {
  const { name, ...primary } = profile('decode')
  const pair = pool(['decode', 'prefill'], {
    ...primary,
    profileName: name,
    profiles: [profile('prefill')],
    handler: {
      ...plugin('pd-profile-handler', { primaryPort: 7000, deciderPluginName: 'always' }),
      deciders: { always: plugin('always-disagg-pd-decider') },
    },
  })
  expect(pick(pair)).toEqual({ decode: '10.0.0.1:7000', prefill: '10.0.0.2:8000', encode: '' })
})

it('a plan whose decider is missing is refused', () => {
  expect(() => pool(ROLES, disagg({ deciders: { prefill: 'nobody' } }))).toThrow(/no decider "nobody"/)
})
