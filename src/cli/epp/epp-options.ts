import { join } from 'node:path'
import type { GatewayPools } from '../../compile/gateway-pools.ts'
import type { ModelPool } from '../../compile/plug-entries.ts'
import type { TextFile } from '../../config/object-set.ts'
import { UsageError } from '../command.ts'
import { joinHostPort } from '../options.ts'
import { parseServeOptions, type ServeOptions } from '../serve/options.ts'
import type { PickerServing } from '../serve/picker-serving.ts'
import { ELECTION_FLAG, ELECTION_TIMES, electionOf } from './election-flags.ts'
import { FLAGS, type FlagName, IDLE_FLAGS, REFUSED_FLAGS, SERVE_FLAGS } from './flags.ts'
import { type FlagType, type GivenFlags, parseGoFlags } from './go-flags.ts'
import { parseGoDuration, parsePort, parseQuantity } from './go-values.ts'
import { discoveredPool, discoversEndpoints, standalonePool } from './standalone-pool.ts'
import { parseCipherSuites, parseTlsVersion } from './tls-flags.ts'

export interface EppOptions {
  readonly serve: ServeOptions
  /** For the log: flags that change nothing, and why. */
  readonly notes: readonly string[]
}

const ALL_FLAGS: Readonly<Record<string, FlagType>> = {
  ...FLAGS,
  ...SERVE_FLAGS,
  ...Object.fromEntries(Object.entries(IDLE_FLAGS).map(([name, { type }]) => [name, type])),
}
const POOL_GROUP = 'inference.networking.k8s.io'
const POOL_GROUPS = [POOL_GROUP, 'inference.networking.x-k8s.io']
/** What open streams get after the lame-duck time: with it, less than the two minutes that picker Deployments grant. */
const STREAMS_DRAIN_S = 90
const LEAST_INTERVAL_MS = 50

/** @param anyAddress where to listen for everybody: `::` or `0.0.0.0`. @throws UsageError */
export function parseEppOptions(argv: readonly string[], env: NodeJS.ProcessEnv, anyAddress: string): EppOptions {
  return new EppFlags(parseGoFlags(argv, ALL_FLAGS, REFUSED_FLAGS), env, anyAddress).options()
}

class EppFlags {
  readonly #given: GivenFlags
  readonly #env: NodeJS.ProcessEnv
  readonly #anyAddress: string

  constructor(given: GivenFlags, env: NodeJS.ProcessEnv, anyAddress: string) {
    this.#given = given
    this.#env = env
    this.#anyAddress = anyAddress
  }

  options(): EppOptions {
    const file = this.#last('config-file')
    const text = this.#last('config-text')
    if (file !== undefined && text !== undefined)
      throw new UsageError('--config-file and --config-text: only one of them')
    const grpc = this.#port('grpc-port', 9002)
    const health = this.#port('grpc-health-port', 9003)
    const metrics = this.#port('metrics-port', 9090)
    if (health === grpc && grpc !== 0) throw new UsageError('--grpc-health-port: is the port of --grpc-port')
    const discovers = discoversEndpoints(file, text)
    const { pools, texts, follows } = discovers ? this.#discoveredPools() : this.#pools()
    const modelPools = this.#modelPools()
    for (const { pool } of modelPools) {
      if ('names' in pools && !pools.names.includes(pool))
        throw new UsageError(`--model-pool: '${pool}' is not one of --pool-name`)
    }
    const receive = this.#last('grpc-max-recv-msg-size')
    const picker: PickerServing = {
      pools,
      poolGroup: this.#poolGroup(),
      texts: [...texts, ...(text === undefined ? [] : [{ file: '--config-text', text }])],
      health: { host: this.#anyAddress, port: health },
      authorizes: this.#bool('metrics-endpoint-auth', true),
      adminTls: this.#adminTls(),
      lameDuckMs: this.#duration('drain-timeout') ?? 30_000,
      maxMessageBytes: receive === undefined ? undefined : parseQuantity(receive, '--grpc-max-recv-msg-size'),
      election: this.#election(pools, discovers),
      compile: {
        ignoreSubset: this.#bool('disable-endpoint-subset-filter', false),
        stableOnly: !this.#bool('allow-experimental-plugins', false),
        scrape: this.#scrape(),
        modelPools,
      },
      tls: this.#tlsSettings(),
    }
    const access = ['--kubernetes', ...(follows === undefined ? [] : [`--namespace=${follows}`])]
    const args = [
      // What has its endpoints from a file needs no API server.
      ...(discovers ? [] : [...access, ...this.#pass('kubeconfig')]),
      ...(file === undefined ? [] : [`--config=${file}`]),
      `--ext-proc=${joinHostPort(this.#anyAddress, grpc)}`,
      `--admin=${joinHostPort(this.#anyAddress, metrics)}`,
      '--xds=off',
      `--tls=${this.#tls()}`,
      `--drain=${STREAMS_DRAIN_S}`,
      `--log-level=${this.#logLevel()}`,
      ...(this.#bool('emit-endpoint-scores', false) ? ['--emit-endpoint-scores'] : []),
      ...(this.#bool('enable-grpc-stream-metrics', false) ? ['--stream-metrics'] : []),
      ...(this.#bool('compat-metrics', false) ? ['--compat-metrics'] : []),
      // It is true by default there: here traces go where the environment says, or nowhere.
      ...(this.#bool('tracing', true) ? [] : ['--tracing=off']),
      ...Object.keys(SERVE_FLAGS).flatMap(name => this.#pass(name)),
    ]
    const idle = discovers && this.#given.has('kubeconfig')
    const notes = idle ? ['--kubeconfig has no effect: dataLayer.discovery has the endpoints'] : []
    return { serve: parseServeOptions(args, picker, this.#env), notes: [...notes, ...this.#notes()] }
  }

  /** What is served, and the namespace whose objects are followed (undefined: all). */
  #pools(): {
    readonly pools: GatewayPools
    readonly texts: readonly TextFile[]
    readonly follows: string | undefined
  } {
    const namespace = this.#namespace()
    const names = this.#given.get('pool-name') ?? []
    const service = this.#last('pools-of-service')
    const all = this.#bool('all-pools', false)
    const selector = this.#last('endpoint-selector')
    const ports = this.#last('endpoint-target-ports')
    const ways = [names.length > 0, service !== undefined, all, selector !== undefined].filter(Boolean).length
    if (ways === 0) throw new UsageError("--pool-name or --endpoint-selector is missing; see 'signalbox epp --help'")
    if (ways > 1)
      throw new UsageError('--pool-name, --pools-of-service, --all-pools, --endpoint-selector: only one of them')
    if (ports !== undefined && selector === undefined)
      throw new UsageError('--endpoint-target-ports needs --endpoint-selector: an InferencePool has its own')
    if (namespace === '' && !all) throw new UsageError('--pool-namespace: is empty')
    if (all) {
      const follows = namespace === '' ? undefined : namespace
      return { pools: { namespace: follows }, texts: [], follows }
    }
    if (service !== undefined) return { pools: { service: `${namespace}/${service}` }, texts: [], follows: namespace }
    if (selector !== undefined) {
      const pool = standalonePool({ namespace, selector, ports, podName: this.#env['POD_NAME'] })
      return { pools: { names: [pool.key] }, texts: [pool.text], follows: namespace }
    }
    const keys = names.map(name => keyOf(name, namespace, '--pool-name'))
    const spread = keys.some(key => !key.startsWith(`${namespace}/`))
    return { pools: { names: keys }, texts: [], follows: spread ? undefined : namespace }
  }

  /** The pools of `--pool-name`, whose endpoints the configuration has from a file. */
  #discoveredPools(): {
    readonly pools: GatewayPools
    readonly texts: readonly TextFile[]
    readonly follows: undefined
  } {
    const namespace = this.#namespace()
    const names = this.#given.get('pool-name') ?? []
    for (const flag of ['pools-of-service', 'all-pools', 'endpoint-selector', 'endpoint-target-ports'] as const)
      if (this.#given.has(flag))
        throw new UsageError(`--${flag}: with dataLayer.discovery nothing is asked of Kubernetes; say --pool-name`)
    if (names.length === 0)
      throw new UsageError('--pool-name is missing: dataLayer.discovery has its endpoints, not its name')
    if (namespace === '') throw new UsageError('--pool-namespace: is empty')
    const keys = names.map(name => keyOf(name, namespace, '--pool-name'))
    return { pools: { names: keys }, texts: keys.map(discoveredPool), follows: undefined }
  }

  #election(pools: GatewayPools, discovers: boolean): PickerServing['election'] {
    if (!this.#bool(ELECTION_FLAG, false)) {
      const idle = ELECTION_TIMES.find(flag => this.#given.has(flag))
      if (idle !== undefined) throw new UsageError(`--${idle} needs --${ELECTION_FLAG}`)
      return undefined
    }
    if (discovers)
      throw new UsageError(`--${ELECTION_FLAG}: with dataLayer.discovery there is no API server for a Lease`)
    const duration = (flag: FlagName) => this.#duration(flag)
    return electionOf({ pools, namespace: this.#namespace(), env: this.#env, duration })
  }

  #modelPools(): ModelPool[] {
    const namespace = this.#namespace()
    return (this.#given.get('model-pool') ?? []).map(text => {
      const at = text.lastIndexOf('=')
      if (at < 1) throw new UsageError(`--model-pool: '${text}' is not MODEL=POOL`)
      return { model: text.slice(0, at), pool: keyOf(text.slice(at + 1), namespace, '--model-pool') }
    })
  }

  #namespace(): string {
    return this.#last('pool-namespace') ?? (this.#env['NAMESPACE'] || 'default')
  }

  #poolGroup(): string {
    const group = this.#last('pool-group') ?? POOL_GROUP
    if (!POOL_GROUPS.includes(group))
      throw new UsageError(`--pool-group: '${group}' has no InferencePool; there are ${POOL_GROUPS.join(' and ')}`)
    return group
  }

  #scrape(): NonNullable<PickerServing['compile']['scrape']> {
    const interval = this.#duration('refresh-metrics-interval')
    const stale = this.#duration('metrics-staleness-threshold')
    if (stale === 0) throw new UsageError('--metrics-staleness-threshold: must be more than 0')
    return {
      ...(interval === undefined ? {} : { interval: Math.max(LEAST_INTERVAL_MS, interval) }),
      ...(stale === undefined ? {} : { stale }),
    }
  }

  #tls(): string {
    const folder = this.#last('cert-path')
    if (this.#bool('secure-serving', true))
      return folder === undefined || folder === ''
        ? 'self-signed'
        : `${join(folder, 'tls.crt')},${join(folder, 'tls.key')}`
    for (const flag of ['cert-path', 'tls-min-version', 'tls-cipher-suites'] as const)
      if (this.#given.has(flag)) throw new UsageError(`--${flag}: there is no TLS with --secure-serving=false`)
    return 'off'
  }

  #adminTls(): PickerServing['adminTls'] {
    const folder = this.#last('metrics-cert-dir')
    const clientCaFile = this.#last('metrics-client-ca-file')
    if (folder === undefined || folder === '') {
      if (clientCaFile) throw new UsageError('--metrics-client-ca-file: needs --metrics-cert-dir')
      return undefined
    }
    return {
      certificate: { kind: 'files', certFile: join(folder, 'tls.crt'), keyFile: join(folder, 'tls.key') },
      ...(clientCaFile ? { clientCaFile } : {}),
      ...(this.#bool('enable-cert-reload', true) ? {} : { reloadMs: 0 }),
    }
  }

  #tlsSettings(): PickerServing['tls'] {
    const version = this.#last('tls-min-version')
    const suites = this.#last('tls-cipher-suites')
    return {
      ...(version === undefined ? {} : { minVersion: parseTlsVersion(version) }),
      ...(suites === undefined ? {} : { ciphers: parseCipherSuites(suites) }),
      ...(this.#bool('enable-cert-reload', true) ? {} : { reloadMs: 0 }),
    }
  }

  #logLevel(): string {
    const zap = this.#last('zap-log-level')
    if (zap !== undefined) {
      const level = { debug: 'debug', info: 'info', error: 'error', panic: 'fatal' }[zap] ?? verbosity(zap)
      if (level === undefined)
        throw new UsageError(`--zap-log-level: '${zap}' is neither debug, info, error nor a number`)
      return level
    }
    const text = this.#last('v')
    const level = text === undefined ? 'info' : verbosity(text)
    if (level === undefined) throw new UsageError(`-v: '${text}' is no number from 0 up`)
    return this.#bool('zap-devel', false) && level === 'info' ? 'debug' : level
  }

  #notes(): string[] {
    return Object.entries(IDLE_FLAGS).flatMap(([name, { why, silent }]) => {
      const value = this.#given.get(name)?.at(-1)
      return value === undefined || value === silent ? [] : [`--${name} has no effect: ${why}`]
    })
  }

  #pass(name: string): string[] {
    const value = this.#given.get(name)?.at(-1)
    if (value === undefined) return []
    // As for the other ports: `::` is everywhere, also where there is no IPv6.
    const everywhere = name === 'peer-listen' && /^\[::\]:\d+$/.test(value)
    return [`--${name}=${everywhere ? joinHostPort(this.#anyAddress, Number(value.slice(5))) : value}`]
  }

  #last(name: FlagName): string | undefined {
    return this.#given.get(name)?.at(-1)
  }

  #bool(name: FlagName, otherwise: boolean): boolean {
    const value = this.#last(name)
    return value === undefined ? otherwise : value === 'true'
  }

  #duration(name: FlagName): number | undefined {
    const text = this.#last(name)
    return text === undefined ? undefined : parseGoDuration(text, `--${name}`)
  }

  #port(name: FlagName, otherwise: number): number {
    const text = this.#last(name)
    return text === undefined ? otherwise : parsePort(text, `--${name}`)
  }
}

function keyOf(name: string, namespace: string, flag: string): string {
  const parts = name.split('/')
  if (parts.length > 2 || parts.includes(''))
    throw new UsageError(`${flag}: '${name}' is neither NAME nor NAMESPACE/NAME`)
  return parts.length === 2 ? name : `${namespace}/${name}`
}

/** klog's levels: 2 default, 3 verbose, 4 debug, 5 trace. */
function verbosity(text: string): string | undefined {
  if (!/^\d{1,9}$/.test(text)) return undefined
  const level = Number(text)
  if (level <= 2) return 'info'
  return level <= 4 ? 'debug' : 'trace'
}
