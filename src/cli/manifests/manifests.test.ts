import { describe, expect, it } from '@jest/globals'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { parseAllDocuments } from 'yaml'
import { readTexts } from '../../config/object-set.ts'
import { UsageError } from '../command.ts'
import { parseEppOptions } from '../epp/epp-options.ts'
import type { Manifest } from './manifest.ts'
import { validateCommand } from '../validate.ts'
import { manifestsCommand } from './manifests-command.ts'

/** What stands in deploy/manifests; `UPDATE_GOLDEN=1` writes it anew. */
const FOLDER = join(import.meta.dirname, '..', '..', '..', 'deploy', 'manifests')
const VALUES = ['--namespace', 'models', '--pool', 'llm:app=vllm']
const TWO_POOLS = [...VALUES, '--pool', 'small:app=vllm-small', '--model', 'qwen3-32b=llm', '--model', 'qwen3-4b=small']
const GOLDEN: Readonly<Record<string, readonly string[]>> = {
  'epp-istio.yaml': ['epp', ...VALUES],
  'epp-istio-h2c.yaml': ['epp', ...VALUES, '--app-protocol', 'kubernetes.io/h2c', '--failure-mode', 'FailClose'],
  'epp-gke.yaml': ['epp', ...VALUES, '--flavour', 'gke', '--replicas', '3', '--peer-tls', 'picker-peers'],
  'epp-agentgateway.yaml': ['epp', ...VALUES, '--flavour', 'agentgateway', '--replicas', '1'],
  'epp-istio-leader.yaml': ['epp', ...VALUES, '--leader-election'],
  'epp-istio-picker-config.yaml': [
    'epp',
    ...VALUES,
    '--gateway-namespace',
    'ingress',
    '--picker-config',
    'examples/picker-config/llm-d-default.yaml',
  ],
  'plug-istio.yaml': ['plug', ...TWO_POOLS],
  'one-hop-istio.yaml': ['one-hop', ...TWO_POOLS],
}

async function write(argv: readonly string[]): Promise<string> {
  let text = ''
  const stdout = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      text += chunk.toString()
      done()
    },
  })
  await manifestsCommand.run(argv, { stdout, stderr: process.stderr, signal: AbortSignal.abort() })
  return text
}

const read = (yaml: string) => parseAllDocuments(yaml).map(document => document.toJS() as Manifest)

describe('signalbox manifests', () => {
  it.each(Object.entries(GOLDEN))('%s', async (file, argv) => {
    const text = `# signalbox manifests ${argv.join(' ')}\n${await write(argv)}`
    if (process.env['UPDATE_GOLDEN'] === '1') await writeFile(join(FOLDER, file), text)
    expect(text).toBe(await readFile(join(FOLDER, file), 'utf8'))
  })

  it('has no other files there', async () => {
    expect((await readdir(FOLDER)).toSorted()).toEqual(Object.keys(GOLDEN).toSorted())
  })

  it.each(Object.keys(GOLDEN))(
    '%s is what validate accepts, with one warning per kind that is not ours',
    async file => {
      let text = ''
      const stdout = new Writable({
        write: (chunk: Buffer, _encoding, done) => {
          text += chunk.toString()
          done()
        },
      })
      const io = { stdout, stderr: process.stderr, signal: AbortSignal.abort() }
      expect([await validateCommand.run([join(FOLDER, file)], io), text]).toEqual([0, expect.any(String)])
      const ignored = [...text.matchAll(/: (\w+) means nothing to Signalbox and is ignored/g)].map(([, kind]) => kind)
      expect(ignored.length).toBeGreaterThan(3)
      expect(new Set(ignored).size).toBe(ignored.length)
    },
  )

  it.each(Object.entries(GOLDEN))('%s hangs together', async (_file, argv) => {
    const manifests = read(await write(argv))
    const of = (kind: string) => manifests.filter(manifest => manifest.kind === kind)
    const keys = manifests.map(({ kind, metadata }) => `${kind} ${metadata.namespace}/${metadata.name}`)
    expect(new Set(keys).size).toBe(keys.length)
    for (const { kind, metadata } of manifests)
      expect(metadata.namespace).toBe(kind === 'ClusterRoleBinding' ? undefined : 'models')

    // The picker starts with its arguments, and serves the pools that refer to it.
    const [picker] = of('Deployment') as unknown as {
      spec: { template: { spec: { containers: { args: string[] }[]; terminationGracePeriodSeconds: number } } }
    }[]
    const { containers, terminationGracePeriodSeconds } = picker!.spec.template.spec
    const [command, ...flags] = containers[0]!.args
    expect(command).toBe('epp')
    const { serve } = parseEppOptions(flags, { NAMESPACE: 'models' }, '::')
    expect(terminationGracePeriodSeconds * 1000).toBeGreaterThan(serve.picker!.lameDuckMs + serve.drainMs)
    // Replicas find each other at a headless Service, and let nobody else in.
    const { replicas } = (picker as unknown as { spec: { replicas: number } }).spec
    const [headless] = of('Service').filter(({ spec }) => (spec as { clusterIP?: string }).clusterIP === 'None')
    const [policy] = of('NetworkPolicy') as unknown as {
      spec: { ingress: { from?: unknown; ports: { port: number }[] }[] }
    }[]
    if (replicas === 1) expect([serve.peers, headless, policy]).toEqual([undefined, undefined, undefined])
    else {
      const place = { kind: 'dns', name: `${headless!.metadata.name}.models.svc`, port: 9005 }
      expect(serve.peers).toMatchObject({ places: place, listen: { host: '::', port: 9005 } })
      expect((headless as unknown as { spec: { ports: object[] } }).spec.ports).toMatchObject([{ targetPort: 9005 }])
      const open = policy!.spec.ingress.filter(({ from }) => from === undefined).flatMap(({ ports }) => ports)
      expect(open.map(({ port }) => port)).toEqual([9002, 9003, 9090])
      const own = policy!.spec.ingress.filter(({ from }) => from !== undefined)
      const { labels } = (picker as unknown as { spec: { template: { metadata: { labels: object } } } }).spec.template
        .metadata
      expect(own).toEqual([
        { from: [{ podSelector: { matchLabels: labels } }], ports: [{ protocol: 'TCP', port: 9005 }] },
      ])
    }
    // A leader has the rights to its Lease alone, and is not waited for until another is ready; where all serve, nobody has any.
    const { election } = serve.picker!
    const { rules } = of('Role')[0] as unknown as { rules: { apiGroups: string[]; [field: string]: unknown }[] }
    const leases = rules.filter(({ apiGroups }) => apiGroups.includes('coordination.k8s.io'))
    const { strategy } = (picker as unknown as { spec: { strategy: { rollingUpdate: object } } }).spec
    if (election === undefined) {
      expect([leases, of('PodDisruptionBudget').length]).toEqual([[], 1])
      expect(strategy.rollingUpdate).toEqual({ maxSurge: 1, maxUnavailable: 0 })
    } else {
      const { lease } = election
      const rule = { apiGroups: ['coordination.k8s.io'], resources: ['leases'] }
      expect(leases).toEqual([
        { ...rule, resourceNames: [lease.name], verbs: ['get', 'update'] },
        { ...rule, verbs: ['create'] },
      ])
      expect([lease.namespace, of('PodDisruptionBudget').length]).toEqual(['models', 0])
      expect(strategy.rollingUpdate).toEqual({ maxSurge: '100%', maxUnavailable: '100%' })
    }
    const pools = of('InferencePool')
    expect(serve.picker!.pools).toEqual({ names: pools.map(({ metadata }) => `models/${metadata.name}`) })
    for (const { model, pool } of serve.picker!.compile.modelPools ?? [])
      expect([model, pools.map(({ metadata }) => `models/${metadata.name}`)]).toEqual([
        model,
        expect.arrayContaining([pool]),
      ])
    const services = of('Service').map(({ metadata }) => metadata.name)
    for (const pool of pools as unknown as { spec: { endpointPickerRef: { name: string } } }[])
      expect(services).toContain(pool.spec.endpointPickerRef.name)

    // Our own reader takes what is meant for it.
    expect(readTexts(serve.picker!.texts).errors).toEqual([])
    const texts = [...pools, ...of('HTTPRoute')].map((manifest, i) => ({
      file: `${i}`,
      text: JSON.stringify(manifest),
    }))
    expect(readTexts(texts).errors).toEqual([])
  })

  it('filters belong to the gateway, wherever it is, and all else to the picker', async () => {
    const manifests = read(await write(['plug', ...TWO_POOLS, '--gateway-namespace', 'ingress']))
    const there = manifests.filter(({ metadata }) => metadata.namespace === 'ingress')
    expect(there.map(({ kind, metadata }) => `${kind} ${metadata.name}`)).toEqual([
      'EnvoyFilter inference-gateway-cluster-names',
      'EnvoyFilter signalbox-plug',
    ])
    // They name what stands elsewhere in full.
    expect(JSON.stringify(there)).toContain('outbound|9002||signalbox-llm.models.svc.cluster.local')
    const route = manifests.find(({ kind }) => kind === 'HTTPRoute')
    expect(route).toMatchObject({
      metadata: { namespace: 'models' },
      spec: { parentRefs: [{ namespace: 'ingress', name: 'inference-gateway' }] },
    })
  })

  it('a configuration of the picker is mounted as the file that it is told of', async () => {
    const manifests = read(await write(GOLDEN['epp-istio-picker-config.yaml']!))
    const [map] = manifests.filter(({ kind }) => kind === 'ConfigMap') as unknown as { data: Record<string, string> }[]
    const text = await readFile('examples/picker-config/llm-d-default.yaml', 'utf8')
    expect(map!.data).toEqual({ 'picker.yaml': text })
    const deployment = manifests.find(({ kind }) => kind === 'Deployment') as unknown as {
      spec: { template: { spec: { volumes: object[]; containers: { args: string[]; volumeMounts: object[] }[] } } }
    }
    const { volumes, containers } = deployment.spec.template.spec
    expect(volumes).toEqual([{ name: 'picker-config', configMap: { name: 'signalbox-config' } }])
    expect(containers[0]!.volumeMounts).toEqual([
      { name: 'picker-config', mountPath: '/etc/signalbox/picker', readOnly: true },
    ])
    expect(containers[0]!.args.join(' ')).toContain('--config-file /etc/signalbox/picker/picker.yaml')
  })

  it.each([
    [[], "'' is none of epp, plug and one-hop"],
    [['epp', '--pool', 'llm'], 'is not NAME:LABEL=VALUE'],
    [['epp', '--pool', 'llm:app'], "'app' is not LABEL=VALUE"],
    [['epp', '--pool', 'LLM:a=b'], 'is no name in Kubernetes'],
    [['epp', '--pool', 'a:a=b', '--pool', 'a:a=c'], 'a pool is there twice'],
    [['epp', '--flavour', 'nginx'], 'none of istio, gke, agentgateway'],
    [['epp', '--replicas', '0'], '--replicas'],
    [['epp', '--peer-tls', 's', '--replicas', '1'], 'no other to talk to'],
    [['epp', '--leader-election', '--replicas', '1'], 'no other to lead'],
    [['epp', '--peer-tls', 'No Secret'], 'is no name in Kubernetes'],
    [['epp', '--target-port', '99999'], 'is no port'],
    [['epp', '--failure-mode', 'FailClosed'], 'neither FailOpen nor FailClose'],
    [['epp', '--picker-config', 'none.yaml'], 'there is no file none.yaml'],
    [['epp', '--picker-config', 'examples/kinds/picker.yaml'], 'has none that is for every pool'],
    [['epp', '--picker-config', 'examples/kinds/pool.yaml'], 'has no EndpointPickerConfig'],
    [['epp', '--picker-config', 'examples/plug-ins/label-value-scorer.ts'], '--picker-config:\n'],
    [['epp', '--gateway-namespace', 'In gress'], '--gateway-namespace'],
    [['epp', '--model', 'a=llm'], 'is for plug and one-hop'],
    [['plug'], '--model MODEL=POOL is missing'],
    [['plug', '--model', 'a=other'], 'with a pool of --pool (llm)'],
    [['one-hop', '--model', 'a=llm', '--flavour', 'gke'], 'is for --flavour istio'],
  ])('%j is refused', async (argv, message) => {
    await expect(write(argv)).rejects.toThrow(UsageError)
    await expect(write(argv)).rejects.toThrow(message)
  })
})
