import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from '@jest/globals'
import { describeOnPlanes } from '../support/envoy-suite.ts'
import { sendHttp1 } from '../support/http-client.ts'
import { documents, GATEWAY, parametersYaml, routeYaml } from '../support/pool-config.ts'
import { type RecordingBackend, startRecordingBackend } from '../support/recording-backend.ts'
import { jsonReply } from '../support/reply.ts'
import { Rig } from '../support/rig.ts'
import { waitFor } from '../support/wait-for.ts'

const ROOT = join(import.meta.dirname, '..', '..')
const EXAMPLE = join(ROOT, 'examples', 'plug-ins', 'label-value-scorer.ts')
const path = '/v1/completions'
const body = '{"model":"m","prompt":"hi"}'

const backend = (tier: string, address: string) => `
apiVersion: signalbox.dev/v1alpha1
kind: SignalboxBackend
metadata: { name: ${tier}, labels: { pool: pool, tier: ${tier} } }
spec:
  endpoints: [{ address: 127.0.0.1, port: ${address.split(':')[1]} }]
`
const POOL = `
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: { name: pool }
spec:
  selector: { matchLabels: { pool: pool } }
  targetPorts: [{ number: 8000 }]
  endpointPickerRef: { name: signalbox, port: { number: 9002 } }
`
const preferring = (tier: string) => `
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
  - type: label-value-scorer
    parameters: { label: tier, value: ${tier} }
`

describeOnPlanes("a user's own plug-in", plane => {
  let backends: RecordingBackend[]
  let rig: Rig
  let objects: string
  beforeAll(async () => {
    const script = ({ path: asked }: { readonly path: string }) =>
      asked.startsWith('/v1/c') ? jsonReply({ ok: true }) : { status: 404 }
    backends = await Promise.all([1, 2].map(() => startRecordingBackend({ script })))
    const [gold, silver] = backends as [RecordingBackend, RecordingBackend]
    objects = documents(
      GATEWAY,
      POOL,
      backend('gold', gold.address),
      backend('silver', silver.address),
      routeYaml({ models: { '': 'pool' } }),
      parametersYaml(),
    )
    rig = await Rig.start({
      plane,
      config: documents(objects, preferring('gold')),
      args: ['--plugins', EXAMPLE, '--threads=2'],
    })
    await rig.decides(path)
  })
  afterAll(async () => {
    await rig.stop()
    await Promise.all(backends.map(each => each.close()))
  })

  const servedBy = async (count: number) => {
    for (const each of backends) each.forget()
    for (let i = 0; i < count; i++) expect((await sendHttp1({ port: rig.port, path, body })).status).toBe(200)
    return backends.map(each => each.requests.filter(request => request.method === 'POST').length)
  }

  it('places requests, on every thread, and by its new parameters when they change', async () => {
    expect(await servedBy(12)).toEqual([12, 0])
    await rig.configure(documents(objects, preferring('silver')))
    await waitFor('the configuration', async () => (await servedBy(4))[1] === 4)
    expect(await servedBy(12)).toEqual([0, 12])
  })
})

it('the ten lines of the documentation are those of the example', () => {
  const text = readFileSync(join(ROOT, 'docs', 'own-plug-ins.md'), 'utf8')
  const example = readFileSync(EXAMPLE, 'utf8')
  expect(text).toContain(`\`\`\`ts\n${example}\`\`\``)
  expect(example.trim().split('\n').length).toBeLessThanOrEqual(10)
})
