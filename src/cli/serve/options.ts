import { availableParallelism } from 'node:os'
import type { ModeOverride } from '../../extproc/exchange.ts'
import type { TlsOptions } from '../../grpc/tls.ts'
import { isLogLevel, type LogLevel } from '../../telemetry/log.ts'
import { UsageError } from '../command.ts'
import { parseRecords, RECORD_OPTIONS, type RecordSettings } from './record-options.ts'
import { refuseContradictions } from './contradictions.ts'
import { MEASURING_OPTIONS, type MeasuringSettings, parseMeasuring } from './measuring-options.ts'
import { MAX_PATH_BYTES } from './own-addresses.ts'
import { parsePeers, PEER_OPTIONS, type PeerServing } from './peer-options.ts'
import type { PickerServing } from './picker-serving.ts'
import { parseCount, parseLimit, parseHost, parseListen, parseOptions, parsePair, parsePlugins } from '../options.ts'

export interface HostPort {
  readonly host: string
  readonly port: number
}

export interface ServeOptions {
  /** Configuration files and folders. May be empty where an API server is followed. */
  readonly config: readonly string[]
  /** The API server to follow; undefined: none. */
  readonly kubernetes: KubernetesOptions | undefined
  readonly xds: HostPort | undefined
  readonly extProc: HostPort | { readonly path: string }
  readonly admin: HostPort | undefined
  /** Host of ext_proc and xDS as Envoys reach them, where that is not where we listen. */
  readonly advertise: string | undefined
  readonly tls: 'off' | 'self-signed' | { readonly certFile: string; readonly keyFile: string }
  readonly clientCaFile: string | undefined
  /** xDS and access log service over TLS. */
  readonly xdsTls: TlsOptions | undefined
  /** Authority by which Envoys of our fleet verify our certificates (ext_proc's, and the access log service's). */
  readonly tlsCaFile: string | undefined
  /** Files on Envoys' machines with the certificate that they show. */
  readonly tlsClient: { readonly certFile: string; readonly keyFile: string } | undefined
  /** `namespace/name` of the pool for gateways whose configuration is not ours. */
  readonly pool: string | undefined
  readonly modeOverride: ModeOverride
  readonly maxHeldBytes: number
  readonly maxConnectionAgeMs: number | undefined
  /** Streams of a connection, and connections of a thread; undefined: the transport's default. */
  readonly maxStreams: number | undefined
  readonly maxConnections: number | undefined
  readonly drainMs: number
  readonly accessLogService: boolean
  /** Threads of the data path. */
  readonly threads: number
  readonly transport: 'own' | 'node'
  /** Peers of the ext_proc service that get Envoy's limits. */
  readonly trust: 'all' | 'verified'
  /** Modules with plug-ins of the user's own. */
  readonly plugins: readonly string[]
  readonly records: RecordSettings
  readonly measuring: MeasuringSettings
  readonly peers: PeerServing | undefined
  /** FileDescriptorSet with further Envoy types, for raw resources. */
  readonly descriptors: string | undefined
  /** Run the embedded data plane in this process. */
  readonly embedded: boolean
  readonly logLevel: LogLevel
  /** `signalbox epp`; absent: `signalbox serve`. */
  readonly picker?: PickerServing
}

interface KubernetesOptions {
  readonly kubeconfig: string | undefined
  /** Undefined: all. */
  readonly namespace: string | undefined
}

/** @param picker makes the options those of an endpoint picker */
export function parseServeOptions(
  argv: readonly string[],
  picker?: PickerServing,
  env: NodeJS.ProcessEnv = process.env,
): ServeOptions {
  const { values } = parseOptions(argv, {
    config: { type: 'string', multiple: true },
    kubernetes: { type: 'boolean', default: false },
    kubeconfig: { type: 'string' },
    namespace: { type: 'string' },
    'ext-proc': { type: 'string', default: '127.0.0.1:9002' },
    xds: { type: 'string', default: '127.0.0.1:18000' },
    admin: { type: 'string', default: '127.0.0.1:9090' },
    advertise: { type: 'string' },
    pool: { type: 'string' },
    'mode-override': { type: 'string', default: 'none' },
    tls: { type: 'string', default: 'off' },
    'client-ca': { type: 'string' },
    'xds-tls': { type: 'string' },
    'xds-client-ca': { type: 'string' },
    'tls-ca': { type: 'string' },
    'tls-client': { type: 'string' },
    'access-log-service': { type: 'string', default: 'on' },
    threads: { type: 'string', default: String(Math.min(availableParallelism(), MOST_BY_DEFAULT)) },
    transport: { type: 'string', default: 'own' },
    trust: { type: 'string', default: 'all' },
    descriptors: { type: 'string' },
    plugins: { type: 'string', multiple: true },
    ...RECORD_OPTIONS,
    ...MEASURING_OPTIONS,
    ...PEER_OPTIONS,
    embedded: { type: 'boolean', default: false },
    'max-held-bytes': { type: 'string', default: String(512 * 1024 * 1024) },
    'max-connection-age': { type: 'string' },
    'max-streams': { type: 'string' },
    'max-connections': { type: 'string' },
    drain: { type: 'string', default: '20' },
    'log-level': { type: 'string', default: 'info' },
  })
  if (values.config === undefined && !values.kubernetes && picker === undefined)
    throw new UsageError("serve: --config is missing (or --kubernetes); see 'signalbox serve --help'")
  for (const option of ['kubeconfig', 'namespace'] as const) {
    if (values[option] === undefined) continue
    if (!values.kubernetes) throw new UsageError(`--${option} needs --kubernetes`)
    if (values[option] === '') throw new UsageError(`--${option}: is empty`)
  }
  const logLevel = values['log-level']
  if (!isLogLevel(logLevel)) throw new UsageError(`--log-level: '${logLevel}' is no level`)
  const age = values['max-connection-age']
  const options: ServeOptions = {
    config: values.config ?? [],
    kubernetes: values.kubernetes ? { kubeconfig: values.kubeconfig, namespace: values.namespace } : undefined,
    xds: values.xds === 'off' ? undefined : parseListen(values.xds, '--xds'),
    extProc: parseExtProc(values['ext-proc']),
    admin: values.admin === 'off' ? undefined : parseListen(values.admin, '--admin'),
    advertise: values.advertise === undefined ? undefined : parseHost(values.advertise, '--advertise'),
    tls: parseTls(values.tls),
    clientCaFile: values['client-ca'],
    xdsTls: parseXdsTls(values['xds-tls'], values['xds-client-ca']),
    tlsCaFile: values['tls-ca'],
    tlsClient: parseTlsClient(values['tls-client']),
    pool: parsePool(values.pool),
    modeOverride: parseModeOverride(values['mode-override']),
    maxHeldBytes: parseCount(values['max-held-bytes'], '--max-held-bytes', 1),
    maxConnectionAgeMs: age === undefined ? undefined : parseCount(age, '--max-connection-age', 1) * 1000,
    maxStreams: parseLimit(values['max-streams'], '--max-streams'),
    maxConnections: parseLimit(values['max-connections'], '--max-connections'),
    drainMs: parseCount(values.drain, '--drain') * 1000,
    accessLogService: parseSwitch(values['access-log-service'], '--access-log-service'),
    threads: parseThreads(values.threads),
    transport: parseTransport(values.transport),
    trust: parseTrust(values.trust),
    descriptors: values.descriptors,
    plugins: parsePlugins(values.plugins),
    records: parseRecords(values),
    measuring: parseMeasuring(values, env),
    peers: parsePeers(values),
    embedded: values.embedded,
    logLevel,
    ...(picker === undefined ? {} : { picker }),
  }
  refuseContradictions(options)
  return options
}

/** Their ports end before any other of ours, as those are by default. */
const MOST_BY_DEFAULT = 64
/** More than any machine has use for. */
const MAX_THREADS = 256

function parseThreads(text: string): number {
  const threads = parseCount(text, '--threads', 1)
  if (threads > MAX_THREADS) throw new UsageError(`--threads: at most ${MAX_THREADS}`)
  return threads
}

function parseTransport(text: string): ServeOptions['transport'] {
  if (text === 'own' || text === 'node') return text
  throw new UsageError(`--transport: '${text}' is neither own nor node`)
}

function parseTrust(text: string): ServeOptions['trust'] {
  if (text === 'all' || text === 'verified') return text
  throw new UsageError(`--trust: '${text}' is neither all nor verified`)
}

function parseExtProc(text: string): ServeOptions['extProc'] {
  if (!text.startsWith('unix:')) return parseListen(text, '--ext-proc')
  const path = text.slice('unix:'.length)
  // Envoy takes no relative path, and the kernel none above 107 bytes.
  if (!path.startsWith('/') || Buffer.byteLength(path) > MAX_PATH_BYTES)
    throw new UsageError(`--ext-proc: '${path}' is no absolute path of at most ${MAX_PATH_BYTES} bytes`)
  return { path }
}

function parseTls(text: string): ServeOptions['tls'] {
  if (text === 'off' || text === 'self-signed') return text
  const files = parsePair(text)
  if (files === undefined) throw new UsageError(`--tls: '${text}' is neither off, self-signed nor CERTFILE,KEYFILE`)
  return files
}

function parseXdsTls(pair: string | undefined, clientCaFile: string | undefined): TlsOptions | undefined {
  if (pair === undefined) {
    if (clientCaFile !== undefined) throw new UsageError('--xds-client-ca needs --xds-tls')
    return undefined
  }
  const files = parsePair(pair)
  if (files === undefined) throw new UsageError(`--xds-tls: '${pair}' is not CERTFILE,KEYFILE`)
  return { certificate: { kind: 'files', ...files }, ...(clientCaFile === undefined ? {} : { clientCaFile }) }
}

function parseTlsClient(text: string | undefined): ServeOptions['tlsClient'] {
  const files = text === undefined ? undefined : parsePair(text)
  if (text !== undefined && files === undefined) throw new UsageError(`--tls-client: '${text}' is not CERTFILE,KEYFILE`)
  return files
}

function parsePool(text: string | undefined): string | undefined {
  if (text !== undefined && !/^[^/]+\/[^/]+$/.test(text))
    throw new UsageError(`--pool: '${text}' is not NAMESPACE/NAME`)
  return text
}

function parseModeOverride(text: string): ModeOverride {
  if (text === 'none' || text === 'buffered' || text === 'full-duplex') return text
  throw new UsageError(`--mode-override: '${text}' is neither none, buffered nor full-duplex`)
}

function parseSwitch(text: string, option: string): boolean {
  if (text === 'on' || text === 'off') return text === 'on'
  throw new UsageError(`${option}: '${text}' is neither on nor off`)
}
