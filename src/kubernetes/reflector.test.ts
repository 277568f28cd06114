import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { waitFor } from '../../test/support/wait-for.ts'
import { ApiClient } from './api-client.ts'
import { Reflector } from './reflector.ts'
import type { ReflectorCounts, ReflectorTiming } from './reflector-options.ts'
import { FakeApiServer, TEST_TIMING } from './testing.ts'

const PATH = '/api/v1/things'

let server: FakeApiServer
let client: ApiClient
let reflector: Reflector<string>
let counts: ReflectorCounts
let changes: number
let states: string[]

beforeEach(async () => {
  server = new FakeApiServer(PATH)
  await server.start()
  client = new ApiClient(() => Promise.resolve(server.access))
  counts = { lists: 0, relists: 0, events: 0, errors: 0 }
  changes = 0
  states = []
})
afterEach(async () => {
  await reflector.stop()
  await client.close()
  await server.stop()
})

function start(timing: Partial<ReflectorTiming> = {}, labelSelector?: string): void {
  reflector = new Reflector<string>({
    client,
    path: PATH,
    ...(labelSelector === undefined ? {} : { labelSelector }),
    convert: object => {
      const { metadata, text } = object as { metadata: { name: string }; text: string }
      return text === 'hidden' ? undefined : { value: `${metadata.name}=${text}`, fingerprint: text }
    },
    onChange: () => changes++,
    onState: state => states.push(state),
    counts,
    timing: { ...TEST_TIMING, ...timing },
  })
  reflector.start()
}

function put(name: string, text: string, labels: Readonly<Record<string, string>> = {}): void {
  server.put(PATH, { metadata: { name, labels }, text })
}

const has = (...values: string[]) =>
  waitFor(`the store to have ${values.join(' ')}`, () => [...reflector.values()].sort().join(' ') === values.join(' '))

const watched = () => waitFor('a watch', () => server.watches > 0)

/** Does something that ends the watches, and waits for the next. */
async function rewatched(act: () => void): Promise<void> {
  const before = server.watchesBegun
  act()
  await waitFor('another watch', () => server.watchesBegun > before)
}

describe('Reflector', () => {
  it('lists, then follows', async () => {
    put('a', '1')
    start()
    expect(reflector.settled).toBe(false)
    await has('a=1')
    await watched()
    put('b', '1')
    put('a', '2')
    await has('a=2', 'b=1')
    server.remove(PATH, 'a')
    await has('b=1')
    expect(counts).toEqual({ lists: 1, relists: 0, events: 3, errors: 0 })
    expect(states).toEqual(['watching'])
    expect(reflector.ageMs).toBeLessThan(10_000)
    expect(server.requests[0]!.authorization).toBe('Bearer secret')
  })

  it('is settled when there is nothing, and says so once', async () => {
    start()
    await waitFor('the list', () => reflector.settled)
    await watched()
    expect(changes).toBe(1)
  })

  it('tells of changes only where something changed', async () => {
    put('a', '1')
    start()
    await watched()
    await has('a=1')
    const before = changes
    put('a', '1')
    put('x', 'hidden')
    await waitFor('the events', () => counts.events === 2)
    expect(changes).toBe(before)
    put('a', 'hidden')
    await has()
    expect(changes).toBe(before + 1)
  })

  it('reads lists page by page', async () => {
    server.pageLimit = 2
    for (const name of ['a', 'b', 'c', 'd', 'e']) put(name, '1')
    start()
    await has('a=1', 'b=1', 'c=1', 'd=1', 'e=1')
    expect(server.requests.filter(({ url }) => url.includes('continue=')).length).toBe(2)
    expect(server.requests[0]!.url).toContain('limit=500')
  })

  it('reads a list at once when its pages are forgotten', async () => {
    server.pageLimit = 2
    server.forgetsPages = true
    for (const name of ['a', 'b', 'c']) put(name, '1')
    start()
    await has('a=1', 'b=1', 'c=1')
    expect(counts.lists).toBe(1)
  })

  it('asks for the objects of a selector', async () => {
    put('a', '1', { app: 'x' })
    put('b', '1', { app: 'y' })
    start({}, 'app=x')
    await has('a=1')
    await watched()
    put('c', '1', { app: 'y' })
    put('d', '1', { app: 'x' })
    await has('a=1', 'd=1')
  })

  it('goes on where it was when a watch ends or breaks', async () => {
    start()
    await watched()
    put('a', '1')
    await has('a=1')
    await rewatched(() => server.endWatches())
    put('b', '1')
    await has('a=1', 'b=1')
    await rewatched(() => {
      server.cutWatches()
      put('c', '1')
    })
    await has('a=1', 'b=1', 'c=1')
    expect(counts).toMatchObject({ lists: 1, relists: 0, errors: 1 })
  })

  it('goes on from bookmarks', async () => {
    put('a', '1')
    start()
    await watched()
    // Another collection moves the server's version on.
    server.addCollection('/api/v1/others')
    server.put('/api/v1/others', { metadata: { name: 'x' } })
    server.bookmark()
    server.forget()
    // In order: the bookmark comes before the end.
    await rewatched(() => server.endWatches())
    put('b', '1')
    await has('a=1', 'b=1')
    expect(counts.relists).toBe(0)
  })

  it('lists again when the server has forgotten where we were, and misses no deletion', async () => {
    put('a', '1')
    put('b', '1')
    start()
    await watched()
    await server.stop()
    server.remove(PATH, 'a')
    put('c', '1')
    server.forget()
    await server.start()
    await has('b=1', 'c=1')
    expect(counts.relists).toBe(1)
  })

  it('lists again after an error in a watch', async () => {
    put('a', '1')
    start()
    await watched()
    server.write(`${JSON.stringify({ type: 'ERROR', object: { kind: 'Status', code: 410, message: 'too old' } })}\n`)
    await waitFor('a new list', () => counts.relists === 1)
    await has('a=1')
    // A forgotten version is no outage.
    expect(states).toEqual(['watching'])
  })

  it.each(['{"type":"ADDED","object"\n', 'null\n', '{"type":"ADDED"}\n'])('lists again after %j', async text => {
    start()
    await watched()
    server.write(text)
    await waitFor('a new list', () => counts.relists === 1)
    expect(counts.errors).toBe(1)
  })

  it('reads events that come byte by byte', async () => {
    server.chunkBytes = 1
    start()
    await watched()
    put('a', 'größer')
    await has('a=größer')
  })

  it('keeps what it knew while the server is away', async () => {
    put('a', '1')
    start()
    await watched()
    await has('a=1')
    await server.stop()
    await waitFor('some failures', () => counts.errors > 3)
    expect(reflector.state).toBe('failing')
    expect([...reflector.values()]).toEqual(['a=1'])
    expect(reflector.settled).toBe(true)
    await server.start()
    put('b', '1')
    await has('a=1', 'b=1')
    expect(states.filter((state, i) => state !== states[i - 1])).toEqual(['watching', 'failing', 'watching'])
  })

  it('begins a silent watch again', async () => {
    start({ silenceMs: 60 })
    await waitFor('several watches', () => server.requests.filter(({ url }) => url.includes('watch=true')).length >= 3)
    put('a', '1')
    await has('a=1')
    expect(counts.lists).toBe(1)
  })

  it('looks for a resource that is not there yet', async () => {
    const missing = new FakeApiServer()
    await server.stop()
    server = missing
    await server.start()
    start()
    await waitFor('the news', () => reflector.state === 'absent')
    expect(reflector.settled).toBe(true)
    expect(changes).toBe(1)
    server.addCollection(PATH)
    put('a', '1')
    await has('a=1')
  })

  it('believes that a resource is gone when it is told so repeatedly', async () => {
    put('a', '1')
    start()
    await watched()
    server.refusals.set(PATH, 404)
    server.cutWatches()
    await waitFor('the first look', () => reflector.state === 'failing')
    await waitFor('belief', () => reflector.state === 'absent')
    expect([...reflector.values()]).toEqual([])
    expect(counts.errors).toBeGreaterThanOrEqual(3)
  })

  it.each([
    [403, 'forbidden'],
    [401, 'failing'],
    [500, 'failing'],
    [429, 'failing'],
  ])('goes on after status %d', async (status, state) => {
    server.refusals.set(PATH, status)
    start()
    await waitFor('the refusal', () => reflector.state === state)
    expect(reflector.settled).toBe(state === 'forbidden')
    server.refusals.clear()
    put('a', '1')
    await has('a=1')
  })

  it('stops at once, whatever it waits for', async () => {
    start({ firstRetryMs: 60_000, absentMs: 60_000 })
    await watched()
    await server.stop()
    await waitFor('the failure', () => reflector.state === 'failing')
    await reflector.stop()
    expect(server.watches).toBe(0)
  })
})
