import { afterAll, beforeAll, expect, it } from '@jest/globals'
import { describeOnPlanes } from '../support/envoy-suite.ts'
import { freePort } from '../support/free-ports.ts'
import { sendHttp1 } from '../support/http-client.ts'
import { documents, GATEWAY, parametersYaml, poolYaml, routeYaml } from '../support/pool-config.ts'
import { type RecordingBackend, startRecordingBackend } from '../support/recording-backend.ts'
import { jsonReply } from '../support/reply.ts'
import { Rig } from '../support/rig.ts'
import { waitFor } from '../support/wait-for.ts'

const path = '/v1/completions'
const body = (prompt: string) => JSON.stringify({ model: 'm', prompt })

/** The fewest requests in flight; of equals, who has the prompt. */
const PICKER = `
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: active-request-scorer
- type: prefix-cache-scorer
schedulingProfiles:
- name: default
  plugins:
  - { pluginRef: active-request-scorer, weight: 2 }
  - { pluginRef: prefix-cache-scorer, weight: 1 }
`

describeOnPlanes('two replicas of Signalbox', plane => {
  let backends: RecordingBackend[]
  const rigs: Rig[] = []
  /** Requests that the backends do not answer yet. */
  const held: (() => void)[] = []

  beforeAll(async () => {
    backends = await Promise.all(
      [1, 2, 3].map(() =>
        startRecordingBackend({
          script: ({ path: asked, headers }) => {
            if (!asked.startsWith('/v1/c')) return { status: 404 }
            return headers['x-hold'] === undefined ? jsonReply({ ok: true }) : { silent: true }
          },
        }),
      ),
    )
    const config = documents(
      GATEWAY,
      poolYaml({ addresses: backends.map(({ address }) => address) }),
      routeYaml({ models: { '': 'pool' } }),
      parametersYaml(),
      PICKER,
    )
    const ports = [await freePort(), await freePort()]
    const peers = `--peers=${ports.map(port => `127.0.0.1:${port}`).join(',')}`
    for (const port of ports) {
      const args = ['--threads=2', peers, `--peer-listen=127.0.0.1:${port}`]
      rigs.push(await Rig.start({ plane, config, args }))
    }
    await Promise.all(rigs.map(rig => rig.decides(path)))
    await waitFor('them to meet', async () => {
      const met = await Promise.all(rigs.map(rig => rig.metrics()))
      return met.every(
        metrics =>
          metrics.get('signalbox_peers{direction="told"}') === 1 &&
          metrics.get('signalbox_peers{direction="heard"}') === 1,
      )
    })
  }, 120_000)
  afterAll(async () => {
    for (const release of held) release()
    await Promise.all(rigs.map(rig => rig.stop()))
    await Promise.all(backends.map(backend => backend.close()))
  })

  const inFlight = async (rig: Rig) => {
    const metrics = await rig.metrics()
    return backends.map(({ address }) => {
      const sample = [...metrics].find(
        ([name]) => name.startsWith('signalbox_endpoint_in_flight') && name.includes(address),
      )
      return sample?.[1] ?? 0
    })
  }
  const posts = () => backends.map(({ requests }) => requests.filter(({ method }) => method === 'POST').length)

  it('send requests where the other one has sent less, and forget those that are over', async () => {
    const [here, there] = rigs as [Rig, Rig]
    for (const backend of backends) backend.forget()
    const abort = new AbortController()
    held.push(() => abort.abort())
    // Two that no backend answers, at two of the three.
    const waiting: Promise<unknown>[] = []
    for (const held of [1, 2]) {
      const request = fetch(`${here.url}${path}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'x-hold': '1' },
        body: body(`held ${held}`),
        signal: abort.signal,
      })
      waiting.push(request.catch(() => undefined))
      await waitFor(
        'it to be in flight',
        async () => (await inFlight(here)).reduce((sum, count) => sum + count) === held,
      )
      await waitFor('it to arrive', () => posts().reduce((sum, count) => sum + count) === held)
    }
    await waitFor('the other replica to know', async () => {
      const counts = await inFlight(there)
      return counts.join() === posts().join() && counts
    })
    const busy = posts()
    const free = busy.indexOf(0)
    for (let i = 0; i < 4; i++) {
      expect((await sendHttp1({ port: there.port, path, body: body(`free ${i}`) })).status).toBe(200)
      // Access logs tell a moment later that it is over.
      await waitFor('it to be over', async () => (await inFlight(there))[free] === 0)
    }
    expect(posts().map((count, i) => count - busy[i]!)).toEqual(busy.map(count => (count === 0 ? 4 : 0)))
    abort.abort()
    await Promise.all(waiting)
    await waitFor('all to be over', async () => (await inFlight(there)).every(count => count === 0))
  })

  it('tell each other of prompts', async () => {
    const [here, there] = rigs as [Rig, Rig]
    const prompt = 'the same long beginning '.repeat(200)
    for (const backend of backends) backend.forget()
    const heard = async () => (await there.metrics()).get('signalbox_peer_prompts_total{direction="heard"}') ?? 0
    const before = await heard()
    expect((await sendHttp1({ port: here.port, path, body: body(prompt) })).status).toBe(200)
    await waitFor('the prompt to be told', async () => (await heard()) > before)
    const first = posts()
    const idle = () => waitFor('all to be over', async () => (await inFlight(there)).every(count => count === 0))
    for (let i = 0; i < 3; i++) {
      await idle()
      expect((await sendHttp1({ port: there.port, path, body: body(`${prompt} and ${i}`) })).status).toBe(200)
    }
    expect(posts()).toEqual(first.map(count => 4 * count))
  })
})
