import { afterAll, beforeAll, describe, it } from '@jest/globals'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { startWatchdog } from '../../src/cli/envoy/envoy-watchdog.ts'
import { findPeer, LLM_D_EPP } from '../bench/contest/peer-binaries.ts'
import { freePort } from '../support/free-ports.ts'
import { PickerClient } from '../support/picker-client.ts'
import { ServeProcess } from '../support/serve-process.ts'
import { makeTempFolder, type TempFolder } from '../support/temp-folder.ts'
import { waitFor } from '../support/wait-for.ts'
import { ControlPlane } from './control-plane.ts'
import { findControlPlane } from './control-plane-binaries.ts'
import { INFERENCE_CRDS } from './inference-crds.ts'

const ROOT = join(import.meta.dirname, '..', '..')
const binaries = await findControlPlane(process.env, ROOT)
const llmD = await findPeer(LLM_D_EPP, process.env, ROOT)
const found = binaries !== undefined && llmD !== undefined
if (!found) {
  console.warn(
    `SKIPPED: no leader is elected among Signalbox and llm-d's picker: ${llmD === undefined ? 'there is no llm-d-epp ($LLM_D_EPP)' : 'there is no kube-apiserver'}.`,
  )
}

const WAIT = { timeoutMs: 90_000, intervalMs: 50 }
const FLAGS = ['--pool-name=llm', '--pool-namespace=default', '--ha-enable-leader-election', '--drain-timeout=0s']
const OBJECTS = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: everything }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin }
subjects: [{ kind: ServiceAccount, name: signalbox, namespace: signalbox }]
---
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: { name: llm, namespace: default }
spec:
  selector: { matchLabels: { app: llm } }
  targetPorts: [{ number: 8000 }]
  endpointPickerRef: { name: picker, port: { number: 9002 } }
`

const suite = found ? describe : describe.skip
suite("Signalbox and llm-d's picker stand for the same Lease", () => {
  let plane: ControlPlane
  let folder: TempFolder
  const cleanups: (() => unknown)[] = []

  beforeAll(async () => {
    folder = await makeTempFolder()
    plane = await ControlPlane.start(binaries!)
    await plane.create(INFERENCE_CRDS)
    await plane.create(OBJECTS)
  }, 120_000)
  afterAll(async () => {
    for (const cleanup of cleanups.toReversed()) await cleanup()
    await plane?.stop()
    await folder?.remove()
  }, 60_000)

  const client = (port: number | string) => {
    const health = new PickerClient(`127.0.0.1:${port}`)
    cleanups.push(() => health.close())
    return health
  }
  /** llm-d's, with its own times. */
  const theirs = async () => {
    const ports = [await freePort(), await freePort(), await freePort()]
    const flags = ['grpc-port', 'grpc-health-port', 'metrics-port'].map((flag, i) => `--${flag}=${ports[i]}`)
    const log = openSync(join(folder.path, 'llm-d.log'), 'a')
    const child = spawn(llmD!, [...FLAGS, ...flags], {
      stdio: ['ignore', log, log],
      env: { ...process.env, KUBECONFIG: plane.kubeconfig, NAMESPACE: 'default', OTEL_TRACES_EXPORTER: 'none' },
    })
    closeSync(log)
    const watchdog = startWatchdog(child.pid!, join(folder.path, 'nothing'))
    child.once('exit', () => watchdog.dismiss())
    cleanups.push(() => end(child, 'SIGKILL'))
    return { child, health: client(ports[1]!) }
  }

  it('each waits for the other, and follows it', async () => {
    const becomes = (health: PickerClient, status: string) =>
      waitFor(status, async () => (await health.health('readiness')) === status, WAIT)
    const first = await theirs()
    await becomes(first.health, 'SERVING')
    const flags = [...FLAGS, `--kubeconfig=${plane.kubeconfig}`, '--threads=1', '--secure-serving=false']
    const ours = await ServeProcess.start(flags, folder.path, 'epp')
    cleanups.push(() => ours.end('SIGKILL'))
    const health = client(ours.extProcAddress.slice(ours.extProcAddress.lastIndexOf(':') + 1))
    await waitFor('ours to hear', () => ours.log().some(({ msg }) => msg === 'another replica leads'), WAIT)
    await becomes(health, 'NOT_SERVING')
    await end(first.child, 'SIGTERM')
    await becomes(health, 'SERVING')

    const second = await theirs()
    // It answers, and has not been let in.
    await becomes(second.health, 'NOT_SERVING')
    await becomes(health, 'SERVING')
    await ours.end('SIGTERM')
    await becomes(second.health, 'SERVING')
  }, 300_000)
})

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = once(child, 'exit')
  child.kill(signal)
  await ended
}
