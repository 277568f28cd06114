import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals'
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import type { Manifest } from '../../src/cli/manifests/manifest.ts'
import { manifestsOf } from '../../src/cli/manifests/manifests-command.ts'
import { parseManifestValues } from '../../src/cli/manifests/values.ts'
import { PickerClient } from '../support/picker-client.ts'
import { ServeProcess } from '../support/serve-process.ts'
import { makeTempFolder, type TempFolder } from '../support/temp-folder.ts'
import { waitFor } from '../support/wait-for.ts'
import { ControlPlane } from './control-plane.ts'
import { findControlPlane } from './control-plane-binaries.ts'
import { INFERENCE_CRDS } from './inference-crds.ts'

const binaries = await findControlPlane(process.env, join(import.meta.dirname, '..', '..'))
if (binaries === undefined) {
  console.warn(
    'SKIPPED: leader election is not tested against a real API server. `npm run test:kubernetes` builds one, or set KUBEBUILDER_ASSETS.',
  )
}

const NAMESPACE = 'signalbox'
const LEASE = `/apis/coordination.k8s.io/v1/namespaces/${NAMESPACE}/leases/epp-${NAMESPACE}-llm.llm-d.ai`
const ROLE = `/apis/rbac.authorization.k8s.io/v1/namespaces/${NAMESPACE}/roles/signalbox`
/** Lease, renewal and retry. */
const SHORT = ['4s', '3s', '500ms']
/** Nobody could wait until it has run out. */
const LONG = ['3600s', '1800s', '500ms']
const WAIT = { timeoutMs: 60_000, intervalMs: 50 }

interface LeaseObject {
  readonly spec: {
    readonly holderIdentity: string
    readonly leaseTransitions: number
    readonly [field: string]: unknown
  }
}

class Replica {
  readonly process: ServeProcess
  readonly gateway: PickerClient

  constructor(process: ServeProcess) {
    this.process = process
    const port = process.extProcAddress.slice(process.extProcAddress.lastIndexOf(':') + 1)
    this.gateway = new PickerClient(`127.0.0.1:${port}`)
  }

  async isReady(): Promise<boolean> {
    return (await this.gateway.health('readiness')) === 'SERVING'
  }

  told(text: string): boolean {
    return this.process.log().some(({ msg }) => msg.includes(text))
  }

  async end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    this.gateway.close()
    await this.process.end(signal)
  }
}

const suite = binaries === undefined ? describe.skip : describe
suite('leader election with a real API server', () => {
  let plane: ControlPlane
  let folder: TempFolder
  let server: Server
  let endpoint: string
  const running = new Set<Replica>()

  const manifests = (...flags: readonly string[]): readonly Manifest[] =>
    manifestsOf('epp', parseManifestValues(['--namespace', NAMESPACE, ...flags]))
  const start = async (times: readonly string[]): Promise<Replica> => {
    const election = ['lease-duration', 'renew-deadline', 'retry-period'].map(
      (time, i) => `--leader-elect-${time}=${times[i]}`,
    )
    const flags = [
      '--pool-name=llm',
      `--pool-namespace=${NAMESPACE}`,
      `--kubeconfig=${plane.kubeconfig}`,
      '--threads=1',
    ]
    const open = ['--secure-serving=false', '--metrics-endpoint-auth=false', '--drain-timeout=0']
    const args = [...flags, ...open, '--ha-enable-leader-election', ...election]
    const replica = new Replica(await ServeProcess.start(args, folder.path, 'epp'))
    running.add(replica)
    return replica
  }
  const end = async (replica: Replica, signal: 'SIGTERM' | 'SIGKILL') => {
    running.delete(replica)
    await replica.end(signal)
  }
  /** The one that is ready, once it is the only one. */
  const leader = async (...replicas: readonly Replica[]): Promise<Replica> =>
    await waitFor(
      'a leader',
      async () => {
        const ready = await Promise.all(replicas.map(replica => replica.isReady()))
        return ready.filter(Boolean).length === 1 && replicas[ready.indexOf(true)]
      },
      WAIT,
    )
  /** It knows the pool, since it stands for election, and that another leads. */
  const follows = (replica: Replica) =>
    waitFor('it to know who leads', () => replica.told('another replica leads'), WAIT)
  const picks = (replica: Replica) =>
    waitFor('a pick', async () => (await replica.gateway.pick()).endpoints === endpoint, WAIT)
  const lease = async () => ((await plane.read(LEASE)) as LeaseObject).spec

  beforeAll(async () => {
    server = createServer((_request, response) => void response.writeHead(404).end())
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const { port } = server.address() as AddressInfo
    endpoint = `127.0.0.1:${port}`
    folder = await makeTempFolder()
    plane = await ControlPlane.start(binaries!)
    await plane.create(`{apiVersion: v1, kind: Namespace, metadata: {name: ${NAMESPACE}}}`)
    // The rights that a picker without an election has.
    for (const manifest of manifests())
      if (manifest.apiVersion.startsWith('rbac.')) await plane.create(JSON.stringify(manifest))
    await plane.create(INFERENCE_CRDS)
    await plane.create(
      `{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: ${NAMESPACE}, labels: {app: llm}}, spec: {containers: [{name: c, image: none}]}}`,
    )
    await plane.patch(`/api/v1/namespaces/${NAMESPACE}/pods/a/status`, {
      status: { podIP: '127.0.0.1', podIPs: [{ ip: '127.0.0.1' }], conditions: [{ type: 'Ready', status: 'True' }] },
    })
    const pool = manifests('--target-port', String(port)).find(({ kind }) => kind === 'InferencePool')
    await plane.create(JSON.stringify(pool))
  }, 120_000)
  afterEach(async () => {
    await Promise.all([...running].map(replica => end(replica, 'SIGKILL')))
  }, 60_000)
  afterAll(async () => {
    await plane?.stop()
    await folder?.remove()
    server.close()
    server.closeAllConnections()
  }, 60_000)

  it('has nobody ready without the rights, and one as soon as they are given by what `manifests --leader-election` writes', async () => {
    const only = await start(SHORT)
    await waitFor('the log to tell', () => only.told('no permission for the Lease'), WAIT)
    expect(await only.isReady()).toBe(false)
    expect(await only.gateway.health('liveness')).toBe('SERVING')
    const role = manifests('--leader-election').find(({ kind }) => kind === 'Role')
    await plane.patch(ROLE, { rules: role!['rules'] })
    expect(await leader(only)).toBe(only)
    expect(await lease()).toMatchObject({
      holderIdentity: expect.stringMatching(/_[0-9a-f-]{36}$/),
      leaseDurationSeconds: 4,
    })
    await end(only, 'SIGTERM')
    expect((await lease()).holderIdentity).toBe('')
  }, 120_000)

  it('a leader that is killed is followed by the other replica', async () => {
    const replicas = await Promise.all([1, 2].map(() => start(SHORT)))
    const first = await leader(...replicas)
    const before = await lease()
    const second = replicas.find(replica => replica !== first)!
    // It serves what comes all the same.
    await follows(second)
    await picks(second)
    await end(first, 'SIGKILL')
    expect(await leader(second)).toBe(second)
    await picks(second)
    const after = await lease()
    expect(after.holderIdentity).not.toBe(before.holderIdentity)
    expect(after.leaseTransitions).toBeGreaterThan(before.leaseTransitions)
  }, 120_000)

  it('a leader that hangs is followed too, and leads no longer when it goes on', async () => {
    const replicas = await Promise.all([1, 2].map(() => start(SHORT)))
    const first = await leader(...replicas)
    const second = replicas.find(replica => replica !== first)!
    await follows(second)
    process.kill(first.process.pid, 'SIGSTOP')
    try {
      expect(await leader(second)).toBe(second)
    } finally {
      process.kill(first.process.pid, 'SIGCONT')
    }
    await waitFor('it to notice', () => first.told('this replica leads no longer'), WAIT)
    await leader(...replicas)
  }, 120_000)

  it('a leader that ends in order is followed at once', async () => {
    // Until what was killed above has run out.
    const first = await start(LONG)
    expect(await leader(first)).toBe(first)
    const second = await start(LONG)
    await follows(second)
    expect(await second.isReady()).toBe(false)
    await end(first, 'SIGTERM')
    expect(await leader(second)).toBe(second)
    await end(second, 'SIGTERM')
  }, 120_000)

  it('nobody leads while the API server is away; what comes is served, and one leads afterwards', async () => {
    const replicas = await Promise.all([1, 2].map(() => start(SHORT)))
    const first = await leader(...replicas)
    await follows(replicas.find(replica => replica !== first)!)
    await plane.killApiServer()
    const noneReady = async () => (await Promise.all(replicas.map(replica => replica.isReady()))).every(ready => !ready)
    await waitFor('nobody to lead', noneReady, WAIT)
    for (const replica of replicas) await picks(replica)
    expect(await noneReady()).toBe(true)
    await plane.startApiServer()
    await leader(...replicas)
  }, 120_000)
})
