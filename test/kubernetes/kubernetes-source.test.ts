import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseServeOptions } from '../../src/cli/serve/options.ts'
import { Signalbox } from '../../src/cli/serve/signalbox.ts'
import type { ResourceFigures } from '../../src/kubernetes/kubernetes-source.ts'
import { createLog } from '../../src/telemetry/log.ts'
import { waitFor } from '../support/wait-for.ts'
import { ControlPlane } from './control-plane.ts'
import { findControlPlane } from './control-plane-binaries.ts'
import { INFERENCE_CRDS } from './inference-crds.ts'

const ROOT = join(import.meta.dirname, '..', '..')
const binaries = await findControlPlane(process.env, ROOT)
if (binaries === undefined) {
  console.warn(
    'SKIPPED: nothing is tested against a real API server. `npm run test:kubernetes` builds one, or set KUBEBUILDER_ASSETS.',
  )
}

const POOL = `
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: { name: llm, namespace: default }
spec:
  selector: { matchLabels: { app: vllm } }
  targetPorts: [{ number: 8000 }, { number: 8001 }]
  endpointPickerRef: { name: signalbox, port: { number: 9002 } }
`
const PODS = '/api/v1/namespaces/default/pods'

const pod = (name: string, app = 'vllm') => `
apiVersion: v1
kind: Pod
metadata: { name: ${name}, namespace: default, labels: { app: ${app} } }
spec: { containers: [{ name: c, image: none }] }
`

const suite = binaries === undefined ? describe.skip : describe
suite('an InferencePool of a real API server', () => {
  let plane: ControlPlane
  let signalbox: Signalbox

  beforeAll(async () => {
    plane = await ControlPlane.start(binaries!)
    await plane.create(await readFile(join(ROOT, 'deploy', 'kubernetes', 'rbac.yaml'), 'utf8'))
    const args = ['--kubernetes', `--kubeconfig=${plane.kubeconfig}`, '--xds=off', '--pool=default/llm', '--threads=1']
    signalbox = new Signalbox(
      parseServeOptions([...args, '--ext-proc=127.0.0.1:0', '--admin=127.0.0.1:0', '--drain=0']),
      createLog('silent'),
    )
    await signalbox.start()
  }, 120_000)
  afterAll(async () => {
    await signalbox?.stop()
    await plane?.stop()
  }, 60_000)

  const get = async (path: string) => (await fetch(`http://${signalbox.adminAddress}${path}`)).text()
  const addresses = async () => {
    const pools = JSON.parse(await get('/pools')) as Record<string, { address: string }[]>
    return pools['default/llm']
      ?.map(({ address }) => address)
      .sort()
      .join(' ')
  }
  const become = async (wanted: string | undefined) => {
    const began = performance.now()
    await waitFor(`the endpoints ${wanted}`, async () => (await addresses()) === wanted, { timeoutMs: 20_000 })
    return performance.now() - began
  }
  const setReady = (name: string, ip: string, ready: boolean) =>
    plane.patch(`${PODS}/${name}/status`, {
      status: { podIP: ip, podIPs: [{ ip }], conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }] },
    })
  const figures = async () => JSON.parse(await get('/kubernetes')) as ResourceFigures[]

  it('is waited for, with its CRD', async () => {
    expect(await get('/readyz')).toContain('no configuration yet')
    await waitFor('a look', async () => (await figures())[1]!.errors > 0)
    await plane.create(INFERENCE_CRDS)
    await plane.create(POOL)
    await waitFor('readiness', async () => (await get('/readyz')) === 'ok\n', { timeoutMs: 60_000 })
    await become('')
  }, 90_000)

  it('has the ready pods at its target ports', async () => {
    await plane.create(pod('a'))
    await plane.create(pod('b'))
    await plane.create(pod('other', 'other'))
    await setReady('other', '10.0.0.9', true)
    await setReady('a', '10.0.0.1', false)
    await setReady('b', '10.0.0.2', true)
    const times = [await become('10.0.0.2:8000 10.0.0.2:8001')]
    await setReady('a', '10.0.0.1', true)
    times.push(await become('10.0.0.1:8000 10.0.0.1:8001 10.0.0.2:8000 10.0.0.2:8001'))
    await setReady('b', '10.0.0.2', false)
    times.push(await become('10.0.0.1:8000 10.0.0.1:8001'))
    await plane.remove(`${PODS}/a`)
    times.push(await become(''))
    await setReady('b', '10.0.0.2', true)
    times.push(await become('10.0.0.2:8000 10.0.0.2:8001'))
    console.info(`changes seen after ${times.map(ms => `${Math.round(ms)} ms`).join(', ')}`)
  }, 60_000)

  it('has of a pod the ports that its annotation calls active', async () => {
    const activePorts = (annotations: Readonly<Record<string, string | null>>) =>
      plane.patch(`${PODS}/b`, { metadata: { annotations } })
    await activePorts({ 'llm-d.ai/active-ports': '8001' })
    await become('10.0.0.2:8001')
    await activePorts({ 'llm-d.ai/active-ports': ' 8000, none, 99999' })
    await become('10.0.0.2:8000')
    // The older name counts where the newer is not there.
    await activePorts({ 'llm-d.ai/active-ports': null, 'inference.networking.k8s.io/active-ports': '8001,8000' })
    await become('10.0.0.2:8000 10.0.0.2:8001')
    await activePorts({ 'inference.networking.k8s.io/active-ports': '' })
    await become('')
    await activePorts({ 'inference.networking.k8s.io/active-ports': null })
    await become('10.0.0.2:8000 10.0.0.2:8001')
  }, 60_000)

  it('keeps its endpoints while the API server is away', async () => {
    await plane.killApiServer()
    await waitFor('failures', async () => (await figures())[0]!.errors > 1)
    expect(await addresses()).toBe('10.0.0.2:8000 10.0.0.2:8001')
    expect(await get('/readyz')).toBe('ok\n')
    expect(await get('/metrics')).toMatch(/^signalbox_kubernetes_watches_up\{resource="pods"\} 0$/m)
    await plane.startApiServer()
    await plane.create(pod('c'))
    await setReady('c', '10.0.0.3', true)
    await become('10.0.0.2:8000 10.0.0.2:8001 10.0.0.3:8000 10.0.0.3:8001')
  }, 120_000)

  it('follows a change of the selector and of the ports', async () => {
    const path = '/apis/inference.networking.k8s.io/v1/namespaces/default/inferencepools/llm'
    await plane.patch(path, { spec: { selector: { matchLabels: { app: 'other' } }, targetPorts: [{ number: 9000 }] } })
    await become('10.0.0.9:9000')
  }, 30_000)
})
