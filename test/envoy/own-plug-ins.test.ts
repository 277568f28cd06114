import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from '@jest/globals'
import { type EnvoyProcess, startEnvoy } from '../../src/cli/envoy/envoy-process.ts'
import { parseServeOptions } from '../../src/cli/serve/options.ts'
import { Signalbox } from '../../src/cli/serve/signalbox.ts'
import { PLUGIN_KIT } from '../../src/inference/scheduling/plugins/plugin-kit.ts'
import { createLog } from '../../src/telemetry/log.ts'
import { describeOnEnvoy, describeOnPlanes } from '../support/envoy-suite.ts'
import { gatewayBootstrap } from '../support/gateway-bootstrap.ts'
import { sendHttp1 } from '../support/http-client.ts'
import { documents, GATEWAY, parametersYaml, routeYaml } from '../support/pool-config.ts'
import { type RecordingBackend, startRecordingBackend } from '../support/recording-backend.ts'
import { jsonReply } from '../support/reply.ts'
import { Rig } from '../support/rig.ts'
import { makeTempFolder, type TempFolder } from '../support/temp-folder.ts'
import { waitFor } from '../support/wait-for.ts'

const ROOT = join(import.meta.dirname, '..', '..')
const EXAMPLE = join(ROOT, 'examples', 'plug-ins', 'label-value-scorer.ts')
const ALL_ROLES = join(ROOT, 'examples', 'plug-ins', 'all-roles.ts')
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

describeOnEnvoy("a user's own plug-ins of all roles, behind a gateway that is not ours", envoyBinary => {
  let folder: TempFolder
  let backends: RecordingBackend[]
  let signalbox: Signalbox
  let envoy: EnvoyProcess
  const celsius = [90, 20]

  beforeAll(async () => {
    folder = await makeTempFolder()
    backends = await Promise.all(
      celsius.map((_, i) =>
        startRecordingBackend({
          script: ({ path: asked }) =>
            asked === '/temperature'
              ? jsonReply({ celsius: celsius[i] })
              : asked.startsWith('/v')
                ? jsonReply({ ok: true })
                : { status: 404 },
        }),
      ),
    )
    const [gold, silver] = backends as [RecordingBackend, RecordingBackend]
    const all = readFileSync(join(ROOT, 'examples', 'plug-ins', 'all-roles.yaml'), 'utf8')
    const picker = all.split('\n---\n').find(document => document.includes('kind: EndpointPickerConfig'))!
    const config = join(folder.path, 'config.yaml')
    const objects = [POOL, backend('gold', gold.address), backend('silver', silver.address), picker, parametersYaml()]
    await writeFile(config, documents(...objects))
    const args = [`--config=${config}`, '--pool=default/pool', '--xds=off', '--admin=127.0.0.1:0', '--drain=1']
    args.push('--plugins', ALL_ROLES, '--threads=1', '--log-level=silent', '--ext-proc=127.0.0.1:0')
    signalbox = new Signalbox(parseServeOptions(args), createLog('silent'))
    await signalbox.start()
    const filter = {
      processingMode: {
        requestHeaderMode: 'SEND',
        responseHeaderMode: 'SEND',
        requestBodyMode: 'FULL_DUPLEX_STREAMED',
        responseBodyMode: 'FULL_DUPLEX_STREAMED',
        requestTrailerMode: 'SEND',
        responseTrailerMode: 'SEND',
      },
    }
    envoy = await startEnvoy({
      binary: envoyBinary.path,
      bootstrap: gatewayBootstrap({
        peers: { plain: { address: signalbox.extProcAddress } },
        listeners: [{ name: 'picker', peer: 'plain', filter }],
        pool: backends.map(({ address }) => address),
        special: gold.address,
        accessLog: join(folder.path, 'access.log'),
      }),
      concurrency: 1,
    })
    await envoy.ready()
  })
  afterAll(async () => {
    await envoy?.stop()
    await signalbox?.stop()
    await Promise.all((backends ?? []).map(each => each.close()))
    await folder.remove()
  })

  it('all have their part in a request', async () => {
    const port = await envoy.admin.listenerPort('picker')
    const ask = (asked: string, headers = {}, sent = body) => sendHttp1({ port, path: asked, headers, body: sent })
    // The data source's page has been read: the hot one is out.
    await waitFor('six in a row on the cool one', async () => {
      for (let i = 0; i < 6; i++) if ((await ask(path)).headers['x-served-tier'] !== 'silver') return false
      return true
    })
    const [, silver] = backends as [RecordingBackend, RecordingBackend]
    expect(silver.requests.findLast(({ method }) => method === 'POST')!.headers['x-picked']).toBe(silver.address)
    // The parser: its own path, and what its bodies must have.
    expect((await ask('/v2/ask')).status).toBe(200)
    expect((await ask('/v2/ask', {}, '{"model":"m"}')).status).toBe(400)
    // The screener: by a header, and nobody else.
    expect((await ask(path, { 'x-tier': 'gold' })).headers['x-served-tier']).toBe('gold')
    expect((await ask(path, { 'x-tier': 'bronze' })).status).toBe(503)
    // When none is hot, the producer and its scorer spread requests by what the hook has counted, which falls again.
    celsius[0] = 20
    await waitFor('the other one to be used again', async () => (await ask(path)).headers['x-served-tier'] === 'gold')
  })
})

it('all roles have their examples, and the documentation tells of each', () => {
  const text = readFileSync(join(ROOT, 'docs', 'own-plug-ins.md'), 'utf8')
  const example = readFileSync(ALL_ROLES, 'utf8')
  const kit = [...example.matchAll(/^ {2}kit\.(\w+)\(/gm)].map(([, method]) => method!)
  const made = Object.keys(PLUGIN_KIT).filter(name => name !== 'z' && name !== 'headerName')
  const here = ['filter', 'decider', 'picker', 'profileHandler']
  expect([...new Set([...kit, ...here])].toSorted()).toEqual(made.toSorted())
  for (const name of made) expect(text).toContain(`\`${name}(`)
  // Ten lines at the most, each.
  for (const each of example.split(/\n(?= {2}kit\.)/).slice(1))
    expect(each.replace(/\n\n[^]*/, '').split('\n').length).toBeLessThanOrEqual(11)
})

it('the ten lines of the documentation are those of the example', () => {
  const text = readFileSync(join(ROOT, 'docs', 'own-plug-ins.md'), 'utf8')
  const example = readFileSync(EXAMPLE, 'utf8')
  expect(text).toContain(`\`\`\`ts\n${example}\`\`\``)
  expect(example.trim().split('\n').length).toBeLessThanOrEqual(10)
})
