import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseEppOptions } from '../../src/cli/epp/epp-options.ts'
import { Signalbox } from '../../src/cli/serve/signalbox.ts'
import { createLog } from '../../src/telemetry/log.ts'
import { PickerClient } from '../support/picker-client.ts'
import { waitFor } from '../support/wait-for.ts'
import { ADMIN_TOKEN, ControlPlane, SIGNALBOX_TOKEN } from './control-plane.ts'
import { findControlPlane } from './control-plane-binaries.ts'
import { INFERENCE_CRDS } from './inference-crds.ts'

const ROOT = join(import.meta.dirname, '..', '..')
const binaries = await findControlPlane(process.env, ROOT)
if (binaries === undefined) {
  console.warn(
    'SKIPPED: signalbox epp is not tested against a real API server. `npm run test:kubernetes` builds one, or set KUBEBUILDER_ASSETS.',
  )
}

const pool = (name: string) => `
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: { name: ${name}, namespace: default }
spec:
  selector: { matchLabels: { app: ${name} } }
  targetPorts: [{ number: 8000 }]
  endpointPickerRef: { name: signalbox, port: { number: 9002 } }
`
const pod = (name: string, app: string) => `
apiVersion: v1
kind: Pod
metadata: { name: ${name}, namespace: default, labels: { app: ${app} } }
spec: { containers: [{ name: c, image: none }] }
`

const suite = binaries === undefined ? describe.skip : describe
suite('signalbox epp with a real API server', () => {
  let plane: ControlPlane
  let signalbox: Signalbox
  let health: PickerClient
  let gateway: PickerClient

  beforeAll(async () => {
    plane = await ControlPlane.start(binaries!)
    await plane.create(await readFile(join(ROOT, 'deploy', 'kubernetes', 'rbac.yaml'), 'utf8'))
    const { serve } = parseEppOptions(
      [
        '--pool-name=llm',
        `--kubeconfig=${plane.kubeconfig}`,
        '--grpc-port=0',
        '--grpc-health-port=0',
        '--metrics-port=0',
        '--drain-timeout=0',
        '--threads=1',
      ],
      {},
      '127.0.0.1',
    )
    signalbox = new Signalbox(serve, createLog('silent'))
    await signalbox.start()
    health = new PickerClient(signalbox.healthAddress)
    gateway = new PickerClient(signalbox.extProcAddress, { tls: true })
  }, 120_000)
  afterAll(async () => {
    health?.close()
    gateway?.close()
    await signalbox?.stop()
    await plane?.stop()
  }, 60_000)

  const becomes = (status: string) =>
    waitFor(status, async () => (await health.health('readiness')) === status, { timeoutMs: 60_000 })

  it('could be made of the manifests that stand in deploy', async () => {
    const folder = join(ROOT, 'deploy', 'manifests')
    await plane.create('{apiVersion: v1, kind: Namespace, metadata: {name: models}}')
    for (const file of await readdir(folder)) {
      // What else there is, the server would only know with the CRDs of others.
      const own = (await readFile(join(folder, file), 'utf8'))
        .split(/^---$/m)
        .filter(text =>
          /^apiVersion: (?:v1|apps\/v1|policy\/v1|networking\.k8s\.io\/v1|rbac\.authorization\.k8s\.io\/v1)$/m.test(
            text,
          ),
        )
      expect(own.length).toBeGreaterThan(6)
      expect([file, await plane.faultsOf(own.join('---\n'))]).toEqual([file, []])
    }
  }, 60_000)

  it('is alive, and ready as soon as the pool is there', async () => {
    expect(await health.health('liveness')).toBe('SERVING')
    expect(await health.health('readiness')).toBe('NOT_SERVING')
    await plane.create(INFERENCE_CRDS)
    await plane.create(pool('other'))
    await plane.create(pod('a', 'llm'))
    await plane.patch('/api/v1/namespaces/default/pods/a/status', {
      status: { podIP: '10.0.0.1', podIPs: [{ ip: '10.0.0.1' }], conditions: [{ type: 'Ready', status: 'True' }] },
    })
    await plane.create(pool('llm'))
    await becomes('SERVING')
    // Ready means that the pods are known: the first request has its endpoint.
    expect(await gateway.pick()).toEqual({ endpoints: '10.0.0.1:8000' })
  }, 120_000)

  it('is no longer ready when the pool has gone, and again when it is back', async () => {
    await plane.remove('/apis/inference.networking.k8s.io/v1/namespaces/default/inferencepools/llm')
    await becomes('NOT_SERVING')
    expect(await gateway.pick()).toEqual({ failure: 'no plan for this stream' })
    await plane.create(pool('llm'))
    await becomes('SERVING')
  }, 120_000)

  it('shows its metrics to those who may get them', async () => {
    const status = async (path: string, token?: string) => {
      const headers = token === undefined ? {} : { authorization: `Bearer ${token}` }
      return (await fetch(`http://${signalbox.adminAddress}${path}`, { headers })).status
    }
    expect(await status('/readyz')).toBe(200)
    expect(await status('/metrics')).toBe(401)
    expect(await status('/metrics', 'wrong')).toBe(401)
    expect(await status('/metrics', SIGNALBOX_TOKEN)).toBe(403)
    expect(await status('/metrics', ADMIN_TOKEN)).toBe(200)
    expect(await status('/pools', ADMIN_TOKEN)).toBe(200)
  }, 60_000)
})
