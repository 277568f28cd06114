import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { collectionPath, PODS, RESOURCES } from '../../src/kubernetes/resources.ts'
import { FakeApiServer, rawPod, rawPool } from '../../src/kubernetes/testing.ts'
import { processCpuMicros } from '../bench/process-cpu.ts'
import { PickerClient } from '../support/picker-client.ts'
import { readMetrics } from '../support/read-metrics.ts'
import { makeTempFolder, type TempFolder } from '../support/temp-folder.ts'
import { waitFor } from '../support/wait-for.ts'

const ROOT = join(import.meta.dirname, '..', '..')
const POD_PATH = collectionPath(PODS, undefined)
const POOLS = collectionPath(RESOURCES[0]!, undefined)
/** `npm run test:kubernetes` takes 10,000. */
const COUNT = process.env['SIGNALBOX_CHURN_PODS'] === undefined ? 2000 : Number(process.env['SIGNALBOX_CHURN_PODS'])
const LABELS = { app: 'vllm', 'llm-d.ai/role': 'both', 'pod-template-hash': '5d8f7c' }
const LIMIT = { timeoutMs: 120_000 }

describe(`${COUNT} pods that come and go`, () => {
  const server = new FakeApiServer(POD_PATH, ...RESOURCES.map(resource => collectionPath(resource, undefined)))
  let folder: TempFolder
  /** All of 127.0.0.0/8 is this machine. */
  let replicas: Server
  let port = 0
  let child: ChildProcess
  let log = ''
  let admin = ''
  let client: PickerClient

  const ip = (i: number) => `127.${1 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}`
  const put = (i: number, labels: Readonly<Record<string, string>> = LABELS) =>
    server.put(POD_PATH, rawPod(`pod-${i}`, ip(i + 1), labels))
  const remove = (i: number) => server.remove(POD_PATH, `pod-${i}`)
  const metrics = async () => readMetrics(await (await fetch(`${admin}/metrics`)).text())
  const known = async () => {
    const pools = (await (await fetch(`${admin}/pools`)).json()) as Record<string, readonly { address: string }[]>
    return new Set(pools['default/llm']?.map(({ address }) => address))
  }
  const residentMb = async () => {
    const status = await readFile(`/proc/${child.pid}/status`, 'utf8')
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)![1]) / 1024
  }

  beforeAll(async () => {
    folder = await makeTempFolder()
    await server.start()
    replicas = createServer((_request, response) => void response.writeHead(404).end())
    await once(replicas.listen(0, '0.0.0.0'), 'listening')
    port = (replicas.address() as AddressInfo).port
    server.put(POOLS, rawPool('llm', { app: 'vllm' }, [port]))
    for (let i = 0; i < COUNT; i++) put(i)
    const kubeconfig = join(folder.path, 'kubeconfig')
    const config = {
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name: 't', cluster: { server: server.access.server } }],
      users: [{ name: 't', user: { token: 'secret' } }],
      contexts: [{ name: 't', context: { cluster: 't', user: 't' } }],
      'current-context': 't',
    }
    await writeFile(kubeconfig, JSON.stringify(config))
    const none = ['--secure-serving=false', '--metrics-endpoint-auth=false', '--drain-timeout=0', '--threads=1']
    const ports = ['--grpc-port=0', '--grpc-health-port=0', '--metrics-port=0']
    const args = ['epp', `--kubeconfig=${kubeconfig}`, '--pool-name=llm', ...none, ...ports]
    child = spawn(join(ROOT, 'bin', 'signalbox'), args, { stdio: ['ignore', 'ignore', 'pipe'] })
    child.stderr!.setEncoding('utf8').on('data', (text: string) => (log = `${log}${text}`.slice(0, 100_000)))
    const serves = await waitFor('Signalbox', () => /^\{.*"msg":"Signalbox serves".*\}$/m.exec(log)?.[0], LIMIT)
    const { extProc, admin: address } = JSON.parse(serves) as { readonly extProc: string; readonly admin: string }
    const local = (at: string) => at.replace(/^.*:/, '127.0.0.1:')
    admin = `http://${local(address)}`
    client = new PickerClient(local(extProc))
    await waitFor('the pods', async () => (await known()).size === COUNT, LIMIT)
  }, 180_000)
  afterAll(async () => {
    client?.close()
    if (child !== undefined && child.exitCode === null) {
      const ended = once(child, 'exit')
      child.kill('SIGKILL')
      await ended
    }
    await server.stop()
    replicas?.close()
    replicas?.closeAllConnections()
    await folder?.remove()
  }, 60_000)

  /** Picks until `act` is done; every one must name an endpoint. Milliseconds, sorted. */
  const picking = async (act: () => Promise<void>): Promise<number[]> => {
    const acting = { done: false }
    const acted = act().finally(() => (acting.done = true))
    const times: number[] = []
    const body = JSON.stringify({ model: 'm', prompt: 'words and '.repeat(100) })
    while (!acting.done || times.length < 50) {
      const began = performance.now()
      const picked = await client.pick({ path: '/v1/completions', body })
      times.push(performance.now() - began)
      expect(picked.endpoints).toMatch(/^127\./)
      await sleep(2)
    }
    await acted
    return times.sort((a, b) => a - b)
  }

  it('keep nobody from being picked, and are all known in the end', async () => {
    const quiet = await picking(() => sleep(2000))
    const cpu = await processCpuMicros(child.pid!)
    const began = performance.now()
    const restless = await picking(async () => {
      for (let i = 0; i < COUNT; i++) {
        // One in three leaves, one returns at once, and one gets another label.
        if (i % 3 === 0) remove(i)
        else if (i % 3 === 1) {
          remove(i)
          put(i)
        } else put(i, { ...LABELS, 'llm-d.ai/role': 'decode' })
        if (i % 20 === 19) await sleep(25)
      }
    })
    const share = (await processCpuMicros(child.pid!)) - cpu
    const wanted = new Set(Array.from({ length: COUNT }, (_, i) => i).filter(i => i % 3 !== 0))
    await waitFor('the rest', async () => (await known()).size === wanted.size, LIMIT)
    expect(await known()).toEqual(new Set([...wanted].map(i => `${ip(i + 1)}:${port}`)))
    const at = (times: readonly number[], part: number) => times[Math.floor(part * (times.length - 1))]!.toFixed(1)
    const line = (times: readonly number[]) =>
      `${times.length} picks, p50 ${at(times, 0.5)} ms, p99 ${at(times, 0.99)} ms`
    console.info(
      `quiet: ${line(quiet)}; restless: ${line(restless)}, ${(share / 1000 / (performance.now() - began)).toFixed(2)} cores`,
    )
    expect((await metrics()).get('signalbox_kubernetes_relists_total{resource="pods"}')).toBe(0)
  }, 300_000)

  it('are handed on together: far less often than they change', async () => {
    const page = await metrics()
    const events = page.get('signalbox_kubernetes_events_total{resource="pods"}')!
    expect(events).toBeGreaterThan(COUNT)
    const plans = log.match(/"msg":"configuration in force"/g)!.length
    expect(plans).toBeLessThan(events / 5)
    expect(page.get('signalbox_worker_restarts_total{thread="1"}')).toBe(0)
  })

  it('leave no memory behind', async () => {
    const round = async () => {
      for (let i = 0; i < COUNT; i++) {
        if (i % 3 !== 0) remove(i)
        if (i % 100 === 99) await sleep(10)
      }
      await waitFor('none', async () => (await known()).size === 0, LIMIT)
      for (let i = 0; i < COUNT; i++) {
        if (i % 3 !== 0) put(i)
        if (i % 100 === 99) await sleep(10)
      }
      await waitFor('all', async () => (await known()).size === COUNT - Math.ceil(COUNT / 3), LIMIT)
      return residentMb()
    }
    await round()
    const before = await round()
    for (let i = 0; i < 3; i++) await round()
    const after = await residentMb()
    console.info(`resident: ${before.toFixed(0)} MB, three rounds later ${after.toFixed(0)} MB`)
    // Each pod is more than a kilobyte, in several places.
    expect(after).toBeLessThan(before * 1.5 + 30)
  }, 300_000)
})
