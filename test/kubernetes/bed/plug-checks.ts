import { createHash } from 'node:crypto'
import { appendFile } from 'node:fs/promises'
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { request } from 'undici'
import type { Manifest } from '../../../src/cli/manifests/manifest.ts'
import { manifestsOf } from '../../../src/cli/manifests/manifests-command.ts'
import { parseManifestValues } from '../../../src/cli/manifests/values.ts'
import { waitFor } from '../../support/wait-for.ts'
import { ADMIN_TOKEN } from '../control-plane.ts'
import type { Served } from './model-server.ts'
import type { Results } from './results.ts'
import type { RunningBed } from './running-bed.ts'

const NAMESPACE = 'models'
const GATEWAY = 'inference-gateway'
/** Model → label of its pods. */
const MODELS = { 'qwen3-32b': 'app=vllm', 'qwen3-4b': 'app=vllm-small' } as const
const VALUES = [
  `--namespace ${NAMESPACE} --pool llm:app=vllm --pool small:app=vllm-small --failure-mode FailClose`,
  '--model qwen3-32b=llm --model qwen3-4b=small',
].flatMap(line => line.split(' '))
const PROMPT_BYTES = [200, 70_000, 1_200_000, 5_000_000]
const CONVERGED_MS = 120_000

interface Probe {
  readonly model: keyof typeof MODELS
  readonly promptBytes: number
  readonly modelLast: boolean
  readonly chunked: boolean
}

/** The manifests of both ways to attach, as they are generated, with real requests through the gateway. */
export async function plugChecks(bed: RunningBed, results: Results): Promise<void> {
  await bed.apply(base())
  await bed.kubectl([
    'rollout',
    'status',
    '-n',
    NAMESPACE,
    'deployment/vllm',
    'deployment/vllm-small',
    '--timeout=120s',
  ])
  for (const kind of ['plug', 'one-hop'] as const) {
    const manifests = manifestsOf(kind, parseManifestValues(VALUES))
    await bed.apply(manifests)
    await results.check(`${kind}: requests come through`, () => converged(bed))
    await results.check(`${kind}: replicas hear each other, and tell their metrics to who may read them`, () =>
      peers(bed),
    )
    const probes = PROMPT_BYTES.flatMap(promptBytes =>
      [false, true].flatMap(modelLast => [false, true].map(chunked => ({ promptBytes, modelLast, chunked }))),
    )
    for (const [i, probe] of probes.entries()) {
      const model = i % 3 === 0 ? 'qwen3-32b' : 'qwen3-4b'
      const framing = probe.chunked ? 'chunked' : 'content-length'
      const what = `${kind}: prompt of ${probe.promptBytes} B, model ${probe.modelLast ? 'last' : 'first'}, ${framing}, ${model}`
      await results.check(what, () => check(bed, { ...probe, model }))
    }
    await results.check(`${kind}: many small requests reach every pod of their pool`, () => spread(bed))
    if (results.surprises > 0) await results.keep(`${kind}.log`, await bed.podLogs())
    // Routes and the filter: the pickers and pools stay.
    for (const { kind: type, metadata } of manifests)
      if (type === 'EnvoyFilter' || type === 'HTTPRoute')
        await bed.kubectl(['delete', type.toLowerCase(), '-n', NAMESPACE, metadata.name])
  }
}

async function converged(bed: RunningBed): Promise<void> {
  await bed.kubectl(['rollout', 'status', '-n', NAMESPACE, 'deployment/signalbox', '--timeout=120s'])
  const until = Date.now() + CONVERGED_MS
  // Of both models, several times in a row: routes, clusters and endpoints come one after the other.
  for (let good = 0; good < 6; ) {
    const fault = await check(bed, {
      model: good % 2 === 0 ? 'qwen3-32b' : 'qwen3-4b',
      promptBytes: 200,
      modelLast: false,
      chunked: false,
    }).then(
      () => undefined,
      (error: unknown) => error as Error,
    )
    good = fault === undefined ? good + 1 : 0
    if (fault === undefined) continue
    if (Date.now() > until) throw fault
    await sleep(500)
  }
}

/** By the name of their headless Service, which is put where a cluster's DNS would have it. */
async function peers(bed: RunningBed): Promise<void> {
  const addresses = [...(await bed.pods(NAMESPACE, 'app.kubernetes.io/name=signalbox')).keys()]
  await appendFile('/etc/hosts', addresses.map(address => `${address} signalbox-peers.${NAMESPACE}.svc\n`).join(''))
  const read = async (address: string) => {
    const headers = { authorization: `Bearer ${ADMIN_TOKEN}` }
    const { statusCode, body } = await request(`http://${address}:9090/metrics`, { headers })
    const text = await body.text()
    return statusCode === 200 ? text : `status ${statusCode}`
  }
  for (const address of addresses)
    await waitFor(
      `${address} to hear the other one`,
      async () => /^signalbox_peers\{direction="heard"\} 1$/m.test(await read(address)),
      { timeoutMs: 60_000, intervalMs: 500 },
    )
}

/** @throws Error with what came otherwise than it should have */
async function check(bed: RunningBed, probe: Probe): Promise<void> {
  const body = bodyOf(probe)
  const served = await ask(bed, body, probe.chunked)
  const pods = await bed.pods(NAMESPACE, MODELS[probe.model])
  const fault = (what: string) => new Error(`${what}: ${JSON.stringify(served)}`)
  if (served.bytes !== body.length || served.sha256 !== createHash('sha256').update(body).digest('hex'))
    throw fault(`the body of ${body.length} B came otherwise`)
  const [destination] = (served.destination ?? '').split(',')
  const chosen = pods.get(destination!.replace(/:\d+$/, ''))
  if (chosen === undefined) throw fault(`the chosen endpoint is none of ${[...pods.keys()].join(', ')}`)
  if (served.pod !== chosen) throw fault(`it was not served by the chosen one, ${chosen}`)
}

async function spread(bed: RunningBed): Promise<void> {
  for (const model of Object.keys(MODELS) as (keyof typeof MODELS)[]) {
    const pods = new Set((await bed.pods(NAMESPACE, MODELS[model])).values())
    // Side by side: one after the other they may all go to the pod that has been the quicker one until then.
    for (let i = 0; i < 40 && pods.size > 0; i += 8) {
      const sizes = Array.from({ length: 8 }, (_, nth) => 50 + i + nth)
      const bodies = sizes.map(promptBytes => bodyOf({ model, promptBytes, modelLast: false, chunked: false }))
      for (const { pod } of await Promise.all(bodies.map(body => ask(bed, body, false)))) pods.delete(pod)
    }
    if (pods.size > 0) throw new Error(`${model}: ${[...pods].join(', ')} served nothing`)
  }
}

async function ask(bed: RunningBed, body: Buffer, chunked: boolean): Promise<Served> {
  const [ip] = (await bed.pods(NAMESPACE, `gateway.networking.k8s.io/gateway-name=${GATEWAY}`)).keys()
  const { statusCode, body: answer } = await request(`http://${ip}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', host: 'models.example.com' },
    body: chunked ? Readable.from(pieces(body)) : body,
    headersTimeout: 60_000,
  })
  const text = await answer.text()
  if (statusCode !== 200) throw new Error(`status ${statusCode}: ${text.slice(0, 300)}`)
  return JSON.parse(text) as Served
}

/** Without a length. */
async function* pieces(body: Buffer): AsyncGenerator<Buffer> {
  for (let at = 0; at < body.length; at += 100_000) yield await Promise.resolve(body.subarray(at, at + 100_000))
}

function bodyOf({ model, promptBytes, modelLast }: Probe): Buffer {
  const messages = [{ role: 'user', content: 'tell me more '.repeat(promptBytes / 13 + 1) }]
  return Buffer.from(JSON.stringify(modelLast ? { messages, model } : { model, messages }))
}

function base(): Manifest[] {
  const model = (name: string, label: string): Manifest => {
    const [key, value] = label.split('=') as [string, string]
    const labels = { [key]: value }
    const container = {
      name: 'm',
      image: 'model-server',
      ports: [{ containerPort: 8000 }],
      readinessProbe: { httpGet: { path: '/', port: 8000 } },
      env: [{ name: 'POD_NAME', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } }],
    }
    return {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name, namespace: NAMESPACE },
      spec: {
        replicas: 2,
        selector: { matchLabels: labels },
        template: { metadata: { labels }, spec: { containers: [container] } },
      },
    }
  }
  return [
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: NAMESPACE } },
    {
      apiVersion: 'gateway.networking.k8s.io/v1',
      kind: 'Gateway',
      metadata: { name: GATEWAY, namespace: NAMESPACE },
      spec: {
        gatewayClassName: 'istio',
        listeners: [{ name: 'http', port: 80, protocol: 'HTTP', allowedRoutes: { namespaces: { from: 'Same' } } }],
      },
    },
    model('vllm', MODELS['qwen3-32b']),
    model('vllm-small', MODELS['qwen3-4b']),
  ]
}
