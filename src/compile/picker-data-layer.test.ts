import { describe, expect, it } from '@jest/globals'
import { pickedPool } from '../../test/support/picked-pool.ts'
import { readTexts } from '../config/object-set.ts'
import { formatProblem } from '../config/problem.ts'
import { engineOf } from '../inference/engines.ts'
import { compileSet } from './compile.ts'

const POOL = pickedPool()

function compiled(config: string) {
  const set = readTexts([
    { file: 'pool.yaml', text: POOL },
    { file: 'picker.yaml', text: `apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\n${config}` },
  ])
  const { plan, errors, warnings } = compileSet(set, {
    extProc: { addresses: ['127.0.0.1:1'] },
    defaultPool: 'default/p',
  })
  return { scrape: structuredClone(plan).pools[0]?.scrape, problems: [...errors, ...warnings].map(formatProblem) }
}

function scrapeOf(config: string) {
  const { scrape, problems } = compiled(config)
  expect(problems).toEqual([])
  return scrape!
}

const DEFAULTS = {
  path: '/metrics',
  intervalMs: 50,
  timeoutMs: 1000,
  staleMs: 2000,
  modelsIntervalMs: 10_000,
  idleIntervalMs: 1000,
}

describe('the data layer of an EndpointPickerConfig', () => {
  it('has endpoints from a file, where that was read', () => {
    const file = '{ name: list, type: file-discovery, parameters: { path: /endpoints.yaml } }'
    const from = (ref: string, plugins = file) =>
      compiled(`plugins: [${plugins}]\ndataLayer: { discovery: { pluginRef: ${ref} } }`).problems
    expect(from('list')).toEqual([expect.stringMatching(/dataLayer.discovery: \/endpoints.yaml was not read/)])
    expect(from('lst')).toContainEqual(expect.stringMatching(/there is no plug-in "lst" \(did you mean "list"\?\)/))
    expect(from('queue-scorer', '{ type: queue-scorer }')).toEqual([
      expect.stringMatching(/discovery.pluginRef: "queue-scorer" is a scorer, and tells no endpoints/),
    ])
    expect(compiled(`plugins: [${file}]`).problems).toEqual([
      expect.stringMatching(/plugins\[0\]: dataLayer.discovery does not refer to "list"/),
    ])
    expect(compiled('plugins: [{ type: file-discovery }]').problems).toContainEqual(
      expect.stringMatching(/plugins\[0\].parameters.path: is required/),
    )
  })

  it('changes nothing where nothing is said', () => {
    expect(scrapeOf('plugins: [{ type: queue-scorer }]')).toEqual(DEFAULTS)
    expect(scrapeOf('dataLayer: {}')).toEqual(DEFAULTS)
  })

  it('says where metrics are', () => {
    const scrape = scrapeOf(`
plugins:
- type: metrics-data-source
  parameters: { scheme: https, port: 9000, path: /stats, interval: 250ms, clientCertPath: /c, clientKeyPath: /k }
`)
    const tls = { insecureSkipVerify: true, certPath: '/c', keyPath: '/k' }
    expect(scrape).toEqual({ ...DEFAULTS, scheme: 'https', port: 9000, path: '/stats', intervalMs: 250, tls })
  })

  it('verifies where an authority is named', () => {
    const source = '{ type: metrics-data-source, parameters: { scheme: https, caCertPath: /ca } }'
    expect(scrapeOf(`plugins: [${source}]`).tls).toEqual({ insecureSkipVerify: false, caCertPath: '/ca' })
  })

  it('reads nothing where nothing is wanted', () => {
    expect(scrapeOf('dataLayer: { injectDefaults: false }')).toEqual({ ...DEFAULTS, off: true })
  })

  it('reads sources by reference, with extractors, models and GPUs', () => {
    const scrape = scrapeOf(`
plugins:
- { type: metrics-data-source, name: metrics, parameters: { path: /m } }
- type: core-metrics-extractor
  parameters:
    engineConfigs: [{ name: vllm, runningRequestsSpec: r, customMetrics: [{ attributeKey: heat, metricSpec: 't{s=gpu}' }] }]
- { type: models-data-source, parameters: { path: /models, interval: 1m } }
- type: models-data-extractor
- { type: dcgm-data-source, parameters: { interval: 2s } }
- type: dcgm-extractor
dataLayer:
  injectDefaults: false
  sources:
  - { pluginRef: metrics, extractors: [{ pluginRef: core-metrics-extractor }] }
  - { pluginRef: models-data-source, extractors: [{ pluginRef: models-data-extractor }] }
  - { pluginRef: dcgm-data-source, extractors: [{ pluginRef: dcgm-extractor }] }
`)
    expect(scrape).toMatchObject({ path: '/m', attributes: ['heat', 'GPUUtilization'] })
    expect(scrape.models).toMatchObject({ path: '/models', scheme: 'http', intervalMs: 60_000 })
    const gpu = {
      attribute: 'GPUUtilization',
      spec: { name: 'DCGM_FI_DEV_GPU_UTIL', labels: {} },
      scale: 0.01,
      of: 'max',
    }
    expect(scrape.exporters).toEqual([expect.objectContaining({ port: 9400, intervalMs: 2000, metrics: [gpu] })])
  })

  it('has engines of its own before the built-in ones', () => {
    const { engines } = scrapeOf(`
plugins:
- type: core-metrics-extractor
  parameters:
    engineLabelKey: my/engine
    defaultEngine: mine
    engineConfigs:
    - name: mine
      queuedRequestsSpec: 'q{state = "waiting"}'
      cacheInfoSpec: info
      cacheBlockSizeLabelName: size
      cacheNumBlocksSpec: blocks
    - { name: sglang, runningRequestsSpec: r }
`)
    const mine = {
      name: 'mine',
      waiting: { name: 'q', labels: { state: 'waiting' } },
      cacheInfo: { name: 'info', labels: {} },
      blockSizeLabel: 'size',
      blockCount: { name: 'blocks', labels: {} },
      custom: [],
    }
    expect(engineOf(engines!, {})).toEqual(mine)
    expect(engineOf(engines!, { 'my/engine': 'sglang' })).toEqual({
      name: 'sglang',
      running: { name: 'r', labels: {} },
      custom: [],
    })
    expect(engineOf(engines!, { 'my/engine': 'trtllm-serve' }).waiting?.name).toBe('trtllm_num_requests_waiting')
    expect(engineOf(engines!, { 'llm-d.ai/engine-type': 'sglang' }).name).toBe('mine')
  })

  it.each([
    ['{ engineConfigs: [{ name: default }] }', 'the name "default" is reserved'],
    ['{ engineConfigs: [{ name: a }, { name: a }] }', 'each engine once'],
    ['{ defaultEngine: nobody }', 'there is no engine "nobody"; there are vllm, sglang'],
    ['{ engineConfigs: [{ name: a, queuedRequestsSpec: "x{y}" }] }', '"x{y}" label "y" has no value'],
    ['{ engineConfigs: [{ name: a, queuedRequestsSpec: "x{y=z" }] }', 'has no closing brace'],
    ['{ engineConfigs: [{ name: a, customMetrics: [{ attributeKey: k, metricSpec: "" }] }] }', 'must name a metric'],
    ['{ engines: [] }', 'unknown field "engines"'],
  ])('refuses the extractor %s', (parameters, message) => {
    const { problems } = compiled(`plugins: [{ type: core-metrics-extractor, parameters: ${parameters} }]`)
    expect(problems).toEqual([expect.stringContaining(message)])
  })

  it.each([
    ['plugins: [{ type: metrics-data-source, parameters: { scheme: ftp } }]', 'scheme'],
    ['plugins: [{ type: metrics-data-source, parameters: { clientCertPath: /c } }]', 'belong together'],
    ['plugins: [{ type: metrics-data-source, parameters: { interval: 0s } }]', 'must be a duration longer than 0'],
    ['plugins: [{ type: dcgm-data-source, parameters: { useNodeAddress: true } }]', 'addresses of nodes are not known'],
    ['dataLayer: { sources: [{ pluginRef: nope }] }', 'there is no plug-in "nope"'],
    ['dataLayer: { peerDiscovery: { pluginRef: x } }', 'exchange what they know by themselves'],
    ['plugins: [{ type: queue-scorer }]\ndataLayer: { sources: [{ pluginRef: queue-scorer }] }', 'no data source'],
    [
      'plugins: [{ type: metrics-data-source }, { type: dcgm-extractor }]\ndataLayer: { sources: [{ pluginRef: metrics-data-source, extractors: [{ pluginRef: dcgm-extractor }] }] }',
      'takes a core-metrics-extractor',
    ],
    [
      'plugins: [{ type: models-data-source }]\ndataLayer: { injectDefaults: false, sources: [{ pluginRef: models-data-source }] }',
      'beside metrics only',
    ],
    ['plugins: [{ type: dcgm-data-source }]', 'dataLayer.sources does not refer'],
    [
      'plugins: [{ type: metrics-data-source, name: a }, { type: metrics-data-source, name: b }]',
      'which metrics-data-source is meant',
    ],
    [
      'plugins: [{ type: endpoint-notification-source }]\ndataLayer: { sources: [{ pluginRef: endpoint-notification-source }] }',
      'follows the endpoints by itself',
    ],
    [
      'plugins: [{ type: k8s-notification-source, parameters: { group: g, version: v1, kind: K } }]\ndataLayer: { sources: [{ pluginRef: k8s-notification-source }] }',
      'follows the endpoints by itself',
    ],
  ])('tells what is wrong with %j', (config, message) => {
    expect(compiled(config).problems).toEqual(expect.arrayContaining([expect.stringContaining(message)]))
  })

  it("llm-d's wiring of a precise prefix cache is taken: producers hear of endpoints anyway", () => {
    const config = `plugins:
- { type: token-producer, parameters: { modelName: org/model, vllm: { url: "http://localhost:8000" } } }
- type: endpoint-notification-source
- type: metrics-data-source
- type: core-metrics-extractor
- type: single-profile-handler
- type: decode-filter
- { type: precise-prefix-cache-producer, parameters: { tokenProcessorConfig: { blockSize: 64 } } }
- { type: prefix-cache-scorer, parameters: { prefixMatchInfoProducerName: precise-prefix-cache-producer } }
- type: queue-scorer
- type: max-score-picker
dataLayer:
  sources:
  - { pluginRef: metrics-data-source, extractors: [{ pluginRef: core-metrics-extractor }] }
  - { pluginRef: endpoint-notification-source, extractors: [{ pluginRef: precise-prefix-cache-producer }] }
schedulingProfiles:
- name: default
  plugins:
  - pluginRef: decode-filter
  - { pluginRef: prefix-cache-scorer, weight: 2.0 }
  - { pluginRef: queue-scorer, weight: 1.0 }
  - pluginRef: max-score-picker
`
    const { problems } = compiled(config)
    expect(problems).toEqual([
      expect.stringMatching(/blockSize: .* is deprecated/),
      expect.stringMatching(/sources\[1\].pluginRef: has no effect: Signalbox follows the endpoints by itself/),
      expect.stringMatching(
        /extractors\[0\].pluginRef: has no effect: "precise-prefix-cache-producer" is told .* anyway/,
      ),
    ])
    const others = ['inflight-load-producer', 'mm-embeddings-cache-producer', 'precise-prefix-cache-scorer']
    for (const type of [...others, 'topology-extractor', 'queue-scorer']) {
      const extractors = `extractors: [{ pluginRef: ${type} }]`
      const { problems: told } = compiled(
        `plugins: [{ type: endpoint-notification-source }, { type: ${type} }]
dataLayer: { sources: [{ pluginRef: endpoint-notification-source, ${extractors} }] }`,
      )
      const expected = type === 'queue-scorer' ? 'takes nothing' : `"${type}" is told of endpoints`
      expect(told).toContainEqual(expect.stringContaining(expected))
    }
  })

  it('has room for so many attributes and no more', () => {
    const metrics = Array.from({ length: 17 }, (_, i) => `{ attributeKey: k${i}, metricSpec: m }`).join(', ')
    const { problems } = compiled(
      `plugins: [{ type: core-metrics-extractor, parameters: { engineConfigs: [{ name: a, customMetrics: [${metrics}] }] } }]`,
    )
    expect(problems).toEqual([expect.stringContaining('at most 16 are supported')])
  })
})
