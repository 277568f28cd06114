import { describe, expect, it } from '@jest/globals'
import { UsageError } from '../command.ts'
import { parseEppOptions } from './epp-options.ts'
import { FLAGS, IDLE_FLAGS, SERVE_FLAGS } from './flags.ts'
import { EPP_HELP } from './help.ts'

const parse = (argv: readonly string[], env: Record<string, string> = {}) => parseEppOptions(argv, env, '::')
const POOL = ['--pool-name', 'llm']

describe('the options of epp', () => {
  it("are llm-d's defaults", () => {
    const { serve, notes } = parse(POOL)
    expect(notes).toEqual([])
    expect(serve).toMatchObject({
      config: [],
      kubernetes: { kubeconfig: undefined, namespace: 'default' },
      xds: undefined,
      extProc: { host: '::', port: 9002 },
      admin: { host: '::', port: 9090 },
      tls: 'self-signed',
      logLevel: 'info',
      picker: {
        pools: { names: ['default/llm'] },
        poolGroup: 'inference.networking.k8s.io',
        health: { host: '::', port: 9003 },
        authorizes: true,
        lameDuckMs: 30_000,
        maxMessageBytes: undefined,
        compile: { ignoreSubset: false, stableOnly: true, scrape: {} },
        tls: {},
      },
    })
  })

  it('start with what GIE has in its conformance manifests', () => {
    const { serve, notes } = parse([
      '--pool-name',
      'primary-inference-pool',
      '--pool-namespace',
      'inference-conformance-app-backend',
      '--zap-encoder',
      'json',
      '--grpc-port',
      '9002',
      '--grpc-health-port',
      '9003',
    ])
    expect(serve.picker!.pools).toEqual({ names: ['inference-conformance-app-backend/primary-inference-pool'] })
    expect(notes).toEqual([])
  })

  it('all have an effect', () => {
    const { serve } = parse([
      ...POOL,
      '--pool-group=inference.networking.x-k8s.io',
      '--grpc-port=1',
      '--grpc-health-port=2',
      '--metrics-port=3',
      '--config-text=kind: X',
      '--allow-experimental-plugins',
      '--disable-endpoint-subset-filter',
      '--refresh-metrics-interval=10ms',
      '--metrics-staleness-threshold=3s',
      '--drain-timeout=1m',
      '--grpc-max-recv-msg-size=8Mi',
      '--cert-path=/certs',
      '--enable-cert-reload=false',
      '--tls-min-version=VersionTLS13',
      '--metrics-endpoint-auth=false',
      '--metrics-cert-dir=/m',
      '--metrics-client-ca-file=/ca.crt',
      '--health-checking',
      '--kubeconfig=/k',
      '-v=5',
      '--threads=3',
      '--mode-override=buffered',
    ])
    expect(serve).toMatchObject({
      kubernetes: { kubeconfig: '/k' },
      extProc: { port: 1 },
      admin: { port: 3 },
      tls: { certFile: '/certs/tls.crt', keyFile: '/certs/tls.key' },
      logLevel: 'trace',
      threads: 3,
      modeOverride: 'buffered',
      picker: {
        poolGroup: 'inference.networking.x-k8s.io',
        texts: [{ file: '--config-text', text: 'kind: X' }],
        health: { port: 2 },
        authorizes: false,
        adminTls: {
          certificate: { kind: 'files', certFile: '/m/tls.crt', keyFile: '/m/tls.key' },
          clientCaFile: '/ca.crt',
          reloadMs: 0,
        },
        lameDuckMs: 60_000,
        maxMessageBytes: 8 * 1024 * 1024,
        compile: { ignoreSubset: true, stableOnly: false, scrape: { interval: 50, stale: 3000 } },
        tls: { minVersion: 'TLSv1.3', reloadMs: 0 },
      },
    })
    expect(parse([...POOL, '--config-file', '/c.yaml', '--secure-serving=false']).serve).toMatchObject({
      config: ['/c.yaml'],
      tls: 'off',
    })
  })

  it.each([
    [['-v', '0'], 'info'],
    [['-v=4'], 'debug'],
    [['--zap-devel'], 'debug'],
    [['--zap-log-level', 'error'], 'error'],
    [['--zap-log-level=5'], 'trace'],
    [['--log-level=silent'], 'silent'],
  ])('%j is the log level %s', (argv, level) => expect(parse([...POOL, ...argv]).serve.logLevel).toBe(level))

  it('listen for peers everywhere also where there is no IPv6', () => {
    const peers = (listen: string, anyAddress: string) =>
      parseEppOptions([...POOL, '--peers=dns:x:9005', `--peer-listen=${listen}`], {}, anyAddress).serve.peers?.listen
    expect(peers('[::]:9005', '::')).toEqual({ host: '::', port: 9005 })
    expect(peers('[::]:9005', '0.0.0.0')).toEqual({ host: '0.0.0.0', port: 9005 })
    expect(peers('[fd00::1]:9005', '0.0.0.0')).toEqual({ host: 'fd00::1', port: 9005 })
    expect(() => peers('[::]:x', '::')).toThrow("'[::]:x' is not host:port")
  })

  it('have authorities of clients only where there is TLS', () => {
    expect(() => parse([...POOL, '--metrics-client-ca-file=/ca'])).toThrow(
      '--metrics-client-ca-file: needs --metrics-cert-dir',
    )
    expect(parse([...POOL, '--metrics-cert-dir=/m']).serve.picker?.adminTls).toEqual({
      certificate: { kind: 'files', certFile: '/m/tls.crt', keyFile: '/m/tls.key' },
    })
  })

  it.each([
    'total-queued-requests-metric',
    'total-running-requests-metric',
    'kv-cache-usage-percentage-metric',
    'lora-info-metric',
    'cache-info-metric',
  ])('--%s, which llm-d removed, is refused with the place where its value is said now', name => {
    const message = `--${name} is gone: name the metric in the configuration, in the engineConfigs of a core-metrics-extractor`
    for (const given of [[`--${name}=vllm:x`], [`--${name}`, 'vllm:x'], [`-${name}=`]])
      expect(() => parse([...POOL, ...given])).toThrow(new UsageError(message))
  })

  it.each(['port', 'path', 'scheme', 'https-insecure-skip-verify'])(
    '--model-server-metrics-%s is refused with the parameter that it is now',
    name => {
      const message = `--model-server-metrics-${name} is gone: it is a parameter of metrics-data-source in the configuration`
      expect(() => parse([...POOL, `--model-server-metrics-${name}=1`])).toThrow(new UsageError(message))
    },
  )

  it('tell what has no effect', () => {
    expect(parse([...POOL, '--zap-encoder=console', '--enable-pprof=false']).notes).toEqual([
      '--zap-encoder has no effect: the log is JSON',
    ])
  })

  it.each([
    [[], '--pool-name or --endpoint-selector is missing'],
    [[...POOL, '--all-pools'], 'only one of them'],
    [[...POOL, '--endpoint-target-ports=80'], 'needs --endpoint-selector'],
    [[...POOL, '--config-file=a', '--config-text=b'], 'only one of them'],
    [[...POOL, '--grpc-port=9003'], 'is the port of --grpc-port'],
    [[...POOL, '--grpc-port=70000'], "--grpc-port: '70000' is no port"],
    [[...POOL, '--pool-group=x'], "--pool-group: 'x' has no InferencePool"],
    [[...POOL, '--pool-namespace='], '--pool-namespace: is empty'],
    [['--pool-name=a/b/c'], 'neither NAME nor NAMESPACE/NAME'],
    [[...POOL, '--secure-serving=false', '--cert-path=/c'], 'there is no TLS'],
    [[...POOL, '--metrics-staleness-threshold=0'], 'must be more than 0'],
    [[...POOL, '-v=x'], "-v: 'x' is no number"],
    [[...POOL, '--threads=0'], '--threads'],
    [['--endpoint-selector=a=b', '--endpoint-target-ports=80'], 'POD_NAME'],
    [[...POOL, '--model-pool=x'], 'is not MODEL=POOL'],
    [[...POOL, '--model-pool=x=other'], 'is not one of --pool-name'],
  ])('%j is refused', (argv, message) => {
    expect(() => parse(argv)).toThrow(UsageError)
    expect(() => parse(argv)).toThrow(message)
  })
})

describe('the pools of epp', () => {
  it.each([
    [['--pool-name=a', '--pool-name=b'], { names: ['ns/a', 'ns/b'] }, 'ns'],
    [['--pool-name=a', '--pool-name=other/b'], { names: ['ns/a', 'other/b'] }, undefined],
    [['--pools-of-service=signalbox'], { service: 'ns/signalbox' }, 'ns'],
    [['--all-pools'], { namespace: 'ns' }, 'ns'],
    [['--all-pools', '--pool-namespace='], { namespace: undefined }, undefined],
    [['--pool-name=a', '--pool-namespace=other'], { names: ['other/a'] }, 'other'],
  ])('%j', (argv, pools, namespace) => {
    const { serve } = parse(argv, { NAMESPACE: 'ns' })
    expect(serve.picker!.pools).toEqual(pools)
    expect(serve.kubernetes!.namespace).toBe(namespace)
  })

  it('can be made of labels and ports', () => {
    const { serve } = parse(['--endpoint-selector', 'app=vllm, tier==x', '--endpoint-target-ports=8000,8001'], {
      NAMESPACE: 'ns',
      POD_NAME: 'picker-6d4cf56db6-x8k2p',
    })
    expect(serve.picker!.pools).toEqual({ names: ['ns/picker'] })
    expect(JSON.parse(serve.picker!.texts[0]!.text)).toMatchObject({
      metadata: { name: 'picker', namespace: 'ns' },
      spec: {
        selector: { matchLabels: { app: 'vllm', tier: 'x' } },
        targetPorts: [{ number: 8000 }, { number: 8001 }],
      },
    })
  })

  it.each([
    ['app', '80', "'app' is not LABEL=VALUE"],
    ['a=b,a=c', '80', "'a' is there twice"],
    ['a=b', '80,80', 'a port is there twice'],
    ['a=b', '0', "'0' is no port"],
    ['a=b', '1,2,3,4,5,6,7,8,9', 'at most 8'],
  ])('not of %j and %j', (selector, ports, message) => {
    const argv = ['--endpoint-selector', selector, '--endpoint-target-ports', ports]
    expect(() => parse(argv, { POD_NAME: 'p' })).toThrow(message)
  })
})

it('the help names every flag', () => {
  const names = [...Object.keys(FLAGS), ...Object.keys(SERVE_FLAGS), ...Object.keys(IDLE_FLAGS)]
  for (const name of names) expect(EPP_HELP).toMatch(new RegExp(`--?${name}\\b`))
})
