import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type EnvoyProcess, startEnvoy } from '../../src/cli/envoy/envoy-process.ts'
import { parseEppOptions } from '../../src/cli/epp/epp-options.ts'
import { compareText } from '../../src/config/problem.ts'
import { Signalbox } from '../../src/cli/serve/signalbox.ts'
import { type Simulator, startSimulator } from '../../src/sim/simulator.ts'
import { createLog } from '../../src/telemetry/log.ts'
import { describeOnEnvoy } from '../support/envoy-suite.ts'
import { gatewayBootstrap } from '../support/gateway-bootstrap.ts'
import { sendHttp1 } from '../support/http-client.ts'
import { readMetrics } from '../support/read-metrics.ts'
import { makeTempFolder, type TempFolder } from '../support/temp-folder.ts'
import { waitFor } from '../support/wait-for.ts'
import { ControlPlane } from './control-plane.ts'
import { findControlPlane } from './control-plane-binaries.ts'
import { INFERENCE_CRDS } from './inference-crds.ts'

const ROOT = join(import.meta.dirname, '..', '..')
const PODS = '/api/v1/namespaces/default/pods'
/** `npm run test:kubernetes` takes the minute. */
const OUTAGE_MS = process.env['SIGNALBOX_OUTAGE_MS'] === undefined ? 3000 : Number(process.env['SIGNALBOX_OUTAGE_MS'])
const binaries = await findControlPlane(process.env, ROOT)
if (binaries === undefined) {
  console.warn(
    'SKIPPED: no outage of a real API server is tried. `npm run test:kubernetes` builds one, or set KUBEBUILDER_ASSETS.',
  )
}

const objects = (port: number) => `
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: { name: llm, namespace: default }
spec:
  selector: { matchLabels: { app: vllm } }
  targetPorts: [{ number: ${port} }]
  endpointPickerRef: { name: signalbox, port: { number: 9002 } }
---
apiVersion: llm-d.ai/v1alpha2
kind: InferenceObjective
metadata: { name: batch, namespace: default }
spec: { priority: -3, poolRef: { name: llm } }
`
const pod = (name: string) => `
apiVersion: v1
kind: Pod
metadata: { name: ${name}, namespace: default, labels: { app: vllm } }
spec: { containers: [{ name: c, image: none }] }
`

const suite = binaries === undefined ? describe.skip : describe
suite('an API server that goes away', () => {
  describeOnEnvoy('under traffic', envoyBinary => {
    let folder: TempFolder
    let plane: ControlPlane
    let signalbox: Signalbox
    let envoy: EnvoyProcess
    let port: number
    const simulators: Simulator[] = []

    /** All of 127.0.0.0/8 is this machine; a pool has one port for all. */
    const simulator = async (last: number): Promise<void> => {
      simulators.push(
        await startSimulator({
          host: `127.0.0.${last}`,
          port: simulators[0]?.port ?? 0,
          name: `replica-${last}`,
          models: ['m'],
          prefillBaseMs: 1,
          prefillMsPerToken: 0.001,
          decodeMs: 1,
        }),
      )
    }
    const ready = async (name: string, ip: string) => {
      await plane.create(pod(name))
      await plane.patch(`${PODS}/${name}/status`, {
        status: { podIP: ip, podIPs: [{ ip }], conditions: [{ type: 'Ready', status: 'True' }] },
      })
    }

    beforeAll(async () => {
      folder = await makeTempFolder()
      plane = await ControlPlane.start(binaries!)
      await plane.create(await readFile(join(ROOT, 'deploy', 'kubernetes', 'rbac.yaml'), 'utf8'))
      await plane.create(INFERENCE_CRDS)
      for (const last of [2, 3, 4]) await simulator(last)
      const shared = simulators[0]!.port
      await plane.create(objects(shared))
      await ready('a', '127.0.0.2')
      await ready('b', '127.0.0.3')
      const ports = ['--grpc-port=0', '--grpc-health-port=0', '--metrics-port=0', '--metrics-endpoint-auth=false']
      const { serve } = parseEppOptions(
        ['--pool-name=llm', `--kubeconfig=${plane.kubeconfig}`, ...ports, '--drain-timeout=0', '--threads=1'],
        {},
        '127.0.0.1',
      )
      signalbox = new Signalbox(serve, createLog('silent'))
      await signalbox.start()
      envoy = await startEnvoy({
        binary: envoyBinary.path,
        bootstrap: gatewayBootstrap({
          peers: { picker: { address: signalbox.extProcAddress, tls: {} } },
          listeners: [
            {
              name: 'gateway',
              peer: 'picker',
              filter: {
                processingMode: {
                  requestHeaderMode: 'SEND',
                  responseHeaderMode: 'SEND',
                  requestBodyMode: 'FULL_DUPLEX_STREAMED',
                  responseBodyMode: 'NONE',
                  requestTrailerMode: 'SEND',
                  responseTrailerMode: 'SKIP',
                },
              },
            },
          ],
          pool: [2, 3, 4].map(last => `127.0.0.${last}:${shared}`),
          special: '127.0.0.1:9',
          accessLog: join(folder.path, 'access.log'),
        }),
        concurrency: 1,
        logPath: join(folder.path, 'envoy.log'),
      })
      await envoy.ready()
      port = await envoy.admin.listenerPort('gateway')
      await waitFor('the pods', async () => (await endpoints()) === '127.0.0.2 127.0.0.3', { timeoutMs: 60_000 })
    }, 150_000)
    afterAll(async () => {
      await envoy?.stop()
      await signalbox?.stop()
      await Promise.all(simulators.map(each => each.close()))
      await plane?.stop()
      await folder?.remove()
    }, 60_000)

    const get = async (path: string) => (await fetch(`http://${signalbox.adminAddress}${path}`)).text()
    const endpoints = async () => {
      const pools = JSON.parse(await get('/pools')) as Record<string, { address: string; state: string }[]>
      const up = (pools['default/llm'] ?? []).filter(({ state }) => state === 'ready')
      return up
        .map(({ address }) => address.split(':')[0]!)
        .sort(compareText)
        .join(' ')
    }
    const metric = async (name: string, resource = 'pods') =>
      readMetrics(await get('/metrics')).get(`signalbox_kubernetes_${name}{resource="${resource}"}`)
    const ask = async () => {
      const body = JSON.stringify({ model: 'm', prompt: 'hello', max_tokens: 1 })
      const headers = { 'content-type': 'application/json', 'x-gateway-inference-objective': 'batch' }
      return (await sendHttp1({ port, path: '/v1/completions', headers, body })).status
    }
    const served = (index: number) =>
      simulators[index]!.requests().filter(({ path }) => path === '/v1/completions').length

    it('knows the objectives', async () => {
      await waitFor('the objective', async () => (await metric('objects', 'inferenceobjectives.llm-d.ai')) === 1)
      expect(signalbox.threads.keeper.pools.get('default/llm')!.plan.objectives).toEqual({ batch: -3 })
    })

    it('leaves the last known state in force, with metrics that say so', async () => {
      expect(await metric('watches_up')).toBe(1)
      await plane.killApiServer()
      await waitFor('the failure to be seen', async () => (await metric('watches_up')) === 0, { timeoutMs: 30_000 })
      const errors = (await metric('errors_total'))!
      const age = (await metric('age_seconds'))!
      const end = Date.now() + OUTAGE_MS
      const statuses = new Set<number>()
      const before = [served(0), served(1)]
      for (let asked = 0; asked < 60 || Date.now() < end; asked++) {
        statuses.add(await ask())
        await sleep(20)
      }
      expect([...statuses]).toEqual([200])
      expect([served(0) > before[0]!, served(1) > before[1]!]).toEqual([true, true])
      expect(await metric('age_seconds')).toBeGreaterThan(age)
      await waitFor('attempts', async () => (await metric('errors_total'))! > errors, { timeoutMs: 30_000 })
      expect(await metric('objects')).toBe(2)
      expect(await get('/readyz')).toBe('ok\n')
    }, 150_000)

    it('finds out by itself that a replica is dead, whatever the last known state says', async () => {
      await simulators[1]!.close()
      await waitFor('its death', async () => (await endpoints()) === '127.0.0.2', { timeoutMs: 30_000 })
      for (let i = 0; i < 10; i++) expect(await ask()).toBe(200)
    }, 60_000)

    it('is followed again as soon as it is back', async () => {
      await plane.startApiServer()
      await plane.remove(`${PODS}/b`)
      await ready('c', '127.0.0.4')
      await waitFor('the new pods', async () => (await endpoints()) === '127.0.0.2 127.0.0.4', { timeoutMs: 60_000 })
      expect(await metric('watches_up')).toBe(1)
      await waitFor('a request there', async () => (await ask()) === 200 && served(2) > 0, { timeoutMs: 30_000 })
    }, 150_000)
  })
})
