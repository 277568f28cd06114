import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { describeOnEnvoy } from '../support/envoy-suite.ts'
import { AbortedByTest, type ClientResponse, sendHttp1, sendHttp2 } from '../support/http-client.ts'
import { documents, GATEWAY, parametersYaml, poolYaml, routeYaml } from '../support/pool-config.ts'
import { ProcessRig } from '../support/process-rig.ts'
import { bodyRecord } from '../support/recorded-request.ts'
import { type RecordingBackend, startRecordingBackend } from '../support/recording-backend.ts'
import { jsonReply, sseReply } from '../support/reply.ts'
import { waitFor } from '../support/wait-for.ts'

/** `model` stands last: until all of it is there, the request is undecided. */
const chat = (size: number): string =>
  `{"messages":[{"role":"user","content":"${'words and '.repeat(size / 10)}"}],"model":"m"}`

describeOnEnvoy('what failures cost', envoy => {
  let backend: RecordingBackend
  let rig: ProcessRig

  /** Chat requests that the backend has seen, whole or not. */
  const reached = () => backend.requests.filter(request => request.method === 'POST')
  const post = (path: string, body: string, more: Partial<Parameters<typeof sendHttp1>[0]> = {}) =>
    sendHttp1({ port: rig.port, path, headers: { 'content-type': 'application/json' }, body, ...more })
  const startBackend = () =>
    startRecordingBackend({
      script: ({ path }) => {
        if (path === '/metrics') return { status: 404 }
        if (path.endsWith('/stream'))
          return sseReply(
            Array.from({ length: 30 }, (_, i) => `event ${i}`),
            100,
          )
        return jsonReply({ ok: true })
      },
    })
  const openExchanges = async () => (await rig.serve.metrics()).get('signalbox_ext_proc_open_exchanges')!
  /** Resolves when Signalbox has `count` requests under way. */
  const underWay = (count: number) => waitFor(`${count} open exchanges`, async () => (await openExchanges()) === count)
  const nothingIsLeft = () =>
    waitFor('nothing to be left', async () => {
      const metrics = await rig.serve.metrics()
      const names = ['open_exchanges', 'held_bytes', 'open_streams'].map(name => `signalbox_ext_proc_${name}`)
      const open = names.map(name => [name, metrics.get(name)])
      if (open.some(([, value]) => value !== 0)) throw new Error(JSON.stringify(open))
      return true
    })
  const recovers = (path = '/closed') =>
    waitFor('requests to pass again', async () => (await post(path, chat(100))).status === 200, { timeoutMs: 15_000 })

  describe('a Signalbox that is killed', () => {
    beforeAll(async () => {
      backend = await startBackend()
      const addresses = [backend.address]
      rig = await ProcessRig.start({
        envoy,
        config: documents(
          GATEWAY,
          poolYaml({ name: 'closed', addresses, failureMode: 'FailClose' }),
          poolYaml({ name: 'open', addresses, failureMode: 'FailOpen' }),
          poolYaml({ name: 'unsaid', addresses }),
          routeYaml({ name: 'closed', prefix: '/closed', models: { '': 'closed' } }),
          routeYaml({
            name: 'whole',
            prefix: '/whole',
            models: { '': 'closed' },
            annotations: { 'signalbox.dev/model-fact': 'whole' },
          }),
          routeYaml({
            name: 'duplex',
            prefix: '/duplex',
            models: { '': 'closed' },
            annotations: { 'signalbox.dev/body': 'full-duplex' },
          }),
          routeYaml({ name: 'open', prefix: '/open', models: { '': 'open' } }),
          routeYaml({ name: 'unsaid', prefix: '/unsaid', models: { '': 'unsaid' } }),
          parametersYaml('{ failureMode: FailOpen }'),
        ),
      })
    })
    beforeEach(async () => {
      for (const path of ['/closed', '/open', '/unsaid']) await recovers(path)
      backend.forget()
    })
    afterAll(async () => {
      await rig.stop()
      await backend.close()
    })

    it('fails as each pool says, or as the parameters say, and recovers by itself', async () => {
      await rig.serve.end('SIGKILL')
      const body = chat(50_000)
      for (const path of ['/closed', '/whole', '/duplex']) {
        expect([path, (await post(path, body)).status]).toEqual([path, 503])
        expect((await sendHttp1({ port: rig.port, path })).status).toBe(503)
      }
      expect(reached()).toHaveLength(0)
      for (const path of ['/open', '/unsaid']) {
        for (const framing of ['chunked', 'content-length'] as const) {
          const before = reached().length
          expect([path, (await post(path, body, { framing })).status]).toEqual([path, 200])
          expect(reached()[before]!.body.sha256).toBe(bodyRecord(body).sha256)
        }
      }
      await rig.startSignalbox()
      for (const path of ['/closed', '/open', '/duplex']) await recovers(path)
    })

    it('in the middle of uploads: fail-closed ones never reach the backend, fail-open ones arrive whole', async () => {
      const body = chat(40_000)
      const dribble = { writeBytes: 1000, gapMs: 40, framing: 'chunked' } as const
      const closed = ['/closed', '/whole', '/duplex'].map(path => post(path, body, dribble))
      const open = ['/open', '/unsaid'].map(path => post(path, body, dribble))
      await underWay(5)
      await rig.serve.end('SIGKILL')
      for (const response of await Promise.all(closed)) expect(response.status).toBe(503)
      for (const response of await Promise.all(open)) expect(response.status).toBe(200)
      expect(
        reached()
          .map(request => request.path)
          .sort(),
      ).toEqual(['/open', '/unsaid'])
      for (const request of reached()) expect(request.body.sha256).toBe(bodyRecord(body).sha256)
      await rig.startSignalbox()
    })

    it('does not touch what is decided already', async () => {
      const events: string[] = []
      const stream = post('/closed/stream', chat(100), { onData: part => events.push(part.toString()) })
      await waitFor('the first event', () => events.length > 0)
      await rig.serve.end('SIGKILL')
      const response = await stream
      expect(response.status).toBe(200)
      expect(response.body.toString()).toContain('event 29')
      await rig.startSignalbox()
    })

    it('drains: what is decided finishes, what is not never passes', async () => {
      const events: string[] = []
      const stream = post('/closed/stream', chat(100), { onData: part => events.push(part.toString()) })
      await waitFor('the first event', () => events.length > 0)
      const dribble = { writeBytes: 500, gapMs: 50, framing: 'chunked' } as const
      const undecided = ['/closed', '/whole', '/duplex'].map(path => post(path, chat(40_000), dribble))
      const quick = ['/closed', '/whole', '/duplex'].map(path => post(path, chat(8_000), dribble))
      await underWay(6)
      const ended = rig.serve.end('SIGTERM')
      // New ones come in all the while: refused or decided, never let through undecided.
      const statuses = new Set<number>()
      const over = new AbortController()
      void ended.then(() => over.abort())
      let passed = 0
      while (!over.signal.aborted) {
        const { status } = await post('/closed/new', chat(200))
        statuses.add(status)
        if (status === 200) passed++
      }
      expect(await ended).toBe(0)
      for (const response of await Promise.all(undecided)) expect(response.status).toBe(503)
      const decided = (await Promise.all(quick)).filter(response => response.status === 200).length
      expect((await stream).body.toString()).toContain('event 29')
      const seen = reached().map(request => request.path)
      expect(seen.filter(path => path === '/closed/new')).toHaveLength(passed)
      expect(seen.filter(path => !path.startsWith('/closed/'))).toHaveLength(decided)
      for (const status of statuses) expect([200, 503]).toContain(status)
      await rig.startSignalbox()
    })

    it('an Envoy that is killed and started again serves again', async () => {
      await rig.envoy.kill()
      await expect(post('/closed', chat(100))).rejects.toThrow('ECONNREFUSED')
      await nothingIsLeft()
      await rig.startEnvoy()
      await recovers()
      await nothingIsLeft()
    })

    it('an Envoy killed in the middle of uploads leaves nothing behind', async () => {
      const uploads = ['/closed', '/whole', '/duplex'].map(path =>
        post(path, chat(40_000), { writeBytes: 500, gapMs: 50, framing: 'chunked' }).catch((error: unknown) => error),
      )
      await underWay(3)
      await rig.envoy.kill()
      for (const outcome of await Promise.all(uploads)) expect(outcome).toHaveProperty('code', 'ECONNRESET')
      await nothingIsLeft()
      expect(reached()).toHaveLength(0)
      await rig.startEnvoy()
      await recovers()
    })
  })

  describe('slow and unfinished uploads', () => {
    beforeAll(async () => {
      backend = await startBackend()
      rig = await ProcessRig.start({
        envoy,
        args: ['--max-held-bytes', '200000'],
        config: documents(
          GATEWAY,
          poolYaml({ addresses: [backend.address] }),
          routeYaml({ name: 'look', prefix: '/look', models: { '': 'pool' } }),
          routeYaml({
            name: 'whole',
            prefix: '/whole',
            models: { '': 'pool' },
            annotations: { 'signalbox.dev/model-fact': 'whole' },
          }),
          routeYaml({
            name: 'duplex',
            prefix: '/duplex',
            models: { '': 'pool' },
            annotations: { 'signalbox.dev/body': 'full-duplex' },
          }),
          parametersYaml('{ timeouts: { message: 500ms, upload: 3s } }'),
        ),
      })
    })
    beforeEach(async () => {
      await recovers('/look')
      backend.forget()
    })
    afterAll(async () => {
      await rig.stop()
      await backend.close()
    })

    const paths = ['/look', '/whole', '/duplex']

    it.each([1, 2])('a body that takes longer than the message timeout arrives (HTTP/%i)', async version => {
      const body = chat(3_000)
      const send = version === 1 ? sendHttp1 : sendHttp2
      const responses = await Promise.all(
        paths.map(path => send({ port: rig.port, path, body, writeBytes: 250, gapMs: 150, framing: 'chunked' })),
      )
      expect(responses.map(response => response.status)).toEqual([200, 200, 200])
      expect(reached()).toHaveLength(3)
      for (const request of reached()) expect(request.body.sha256).toBe(bodyRecord(body).sha256)
      await nothingIsLeft()
    })

    it('one that takes longer than the upload timeout is a 408 and never reaches the backend', async () => {
      const responses = await Promise.all(
        paths.map(path => post(path, chat(8_000), { writeBytes: 100, gapMs: 60, framing: 'chunked' })),
      )
      for (const response of responses) expectError(response, 408, 'request_timeout')
      expect(reached()).toHaveLength(0)
      await nothingIsLeft()
    })

    it('a client that goes away in the middle leaves nothing behind', async () => {
      for (const send of [sendHttp1, sendHttp2]) {
        const uploads = paths.map(path =>
          send({
            port: rig.port,
            path,
            body: chat(60_000),
            framing: 'chunked',
            writeBytes: 5_000,
            gapMs: 10,
            abortAfterBytes: 40_000,
          }),
        )
        for (const upload of uploads) await expect(upload).rejects.toThrow(AbortedByTest)
        await nothingIsLeft()
      }
      expect(reached()).toHaveLength(0)
    })

    it('bodies beyond the memory for held ones are a 503, and the others pass', async () => {
      const body = chat(120_000)
      const uploads = Array.from({ length: 4 }, () =>
        post('/duplex', body, { framing: 'chunked', writeBytes: 10_000, gapMs: 30 }),
      )
      const responses = await Promise.all(uploads)
      const refused = responses.filter(response => response.status !== 200)
      expect(refused.length).toBeGreaterThan(0)
      for (const response of refused) expectError(response, 503, 'overloaded')
      expect(reached()).toHaveLength(4 - refused.length)
      for (const request of reached()) expect(request.body.sha256).toBe(bodyRecord(body).sha256)
      // One that is too large alone, and routes that hold nothing.
      expectError(await post('/duplex', chat(300_000)), 503, 'overloaded')
      expect((await post('/look', chat(300_000))).status).toBe(200)
      await nothingIsLeft()
      expect((await post('/duplex', body)).status).toBe(200)
    })
  })
})

function expectError(response: ClientResponse, status: number, code: string): void {
  expect([response.status, response.body.toString()]).toEqual([status, expect.stringContaining(code)])
  const { error } = JSON.parse(response.body.toString()) as { error: { code: string } }
  expect(error.code).toBe(code)
}
