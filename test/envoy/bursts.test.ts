import { afterEach, expect, it, jest } from '@jest/globals'
import { describeOnPlanes } from '../support/envoy-suite.ts'
import { documents, GATEWAY, parametersYaml, poolYaml, routeYaml } from '../support/pool-config.ts'
import { type RecordingBackend, startRecordingBackend } from '../support/recording-backend.ts'
import { jsonReply } from '../support/reply.ts'
import { Rig } from '../support/rig.ts'
import { waitFor } from '../support/wait-for.ts'

jest.setTimeout(60_000)

const picker = (windowMs: number) => `
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- { type: burst-prefix-cache-producer, parameters: { windowDurationMs: ${windowMs} } }
- { type: prefix-cache-scorer, parameters: { prefixMatchInfoProducerName: burst-prefix-cache-producer } }
- { type: active-request-scorer }
- { type: max-score-picker }
schedulingProfiles:
- name: default
  plugins: [{ pluginRef: prefix-cache-scorer, weight: 2 }, { pluginRef: active-request-scorer }]
`

/** A machine under load may not send all of a burst for a while. */
const WINDOW_MS = 3000
const SAMPLES = 24

describeOnPlanes('bursts', plane => {
  let rig: Rig | undefined
  let backends: RecordingBackend[] = []

  afterEach(async () => {
    await rig?.stop()
    await Promise.all(backends.map(backend => backend.close()))
    rig = undefined
  })

  for (const [mode, threads] of [
    ['look', 1],
    ['full-duplex', 1],
    // Each has a part of the burst, and places it alone.
    ['look', 2],
  ] as const) {
    it(`requests with the same prompt go to one endpoint, one that is given up leaves nothing (${mode}, threads: ${threads})`, async () => {
      backends = await Promise.all(['a', 'b', 'c'].map(name => startRecordingBackend({ name })))
      for (const backend of backends)
        backend.script(({ path }) =>
          path === '/v1/models'
            ? jsonReply({ object: 'list', data: [{ id: 'm', object: 'model' }] })
            : jsonReply({ backend: backend.name }),
        )
      const annotations: Readonly<Record<string, string>> =
        mode === 'look' ? {} : { 'signalbox.dev/body': 'full-duplex' }
      const config = documents(
        GATEWAY,
        poolYaml({ addresses: backends.map(({ address }) => address) }),
        routeYaml({ models: { '': 'pool' }, annotations }),
        // Less than the window: Envoy is asked for more.
        parametersYaml('{ timeouts: { message: 1s } }'),
        picker(WINDOW_MS),
      )
      rig = await Rig.start({ plane, config, args: [`--threads=${threads}`], concurrency: threads })
      const { url } = rig
      const send = (body: string, signal?: AbortSignal) =>
        fetch(`${url}/v1/completions`, {
          method: 'POST',
          headers: { 'content-type': 'application/json', connection: 'close' },
          body,
          ...(signal === undefined ? {} : { signal }),
        })
      await rig.decides('/v1/completions')
      for (const backend of backends) backend.forget()
      const prompt = 'What all of them have in common. '.repeat(2000)
      const body = JSON.stringify({ model: 'm', prompt })
      const given = new AbortController()
      const lost = send(body, given.signal)
      lost.catch(() => {})
      const sent = Array.from({ length: SAMPLES }, () => send(body))
      setTimeout(() => given.abort(), 200)
      await expect(lost).rejects.toThrow()
      const answers = await Promise.all(sent.map(async response => (await response).json()))
      expect(new Set(answers.map(answer => JSON.stringify(answer))).size).toBe(1)
      const requests = backends.flatMap(backend => backend.requests).filter(({ path }) => path === '/v1/completions')
      expect(requests).toHaveLength(SAMPLES)
      expect(new Set(requests.map(request => request.body.length))).toEqual(new Set([body.length]))
      const metrics = await rig.metrics()
      for (let thread = 1; thread <= threads; thread++)
        expect(metrics.get(`signalbox_thread_streams_total{thread="${thread}"}`)).toBeGreaterThan(1)
      await waitFor('counts', async () =>
        [...(await rig!.metrics())].every(
          ([sample, value]) => !sample.startsWith('signalbox_endpoint_in_flight') || value === 0,
        ),
      )
    })
  }
})
