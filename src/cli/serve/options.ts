import { availableParallelism } from 'node:os'
import type { ModeOverride } from '../../extproc/exchange.ts'
import type { TlsOptions } from '../../grpc/tls.ts'
import { isLogLevel, type LogLevel } from '../../telemetry/log.ts'
import { UsageError } from '../command.ts'
import { parseRecords, RECORD_OPTIONS, type RecordSettings } from './record-options.ts'
import { MEASURING_HELP, MEASURING_OPTIONS, type MeasuringSettings, parseMeasuring } from './measuring-options.ts'
import { parsePeers, PEER_HELP, PEER_OPTIONS, type PeerServing } from './peer-options.ts'
import type { PickerServing } from './picker-serving.ts'
import {
  joinHostPort,
  parseCount,
  parseLimit,
  parseHost,
  parseListen,
  parseOptions,
  parsePair,
  parsePlugins,
} from '../options.ts'

export interface ServeOptions {
  /** Configuration files and folders. May be empty where an API server is followed. */
  readonly config: readonly string[]
  /** The API server to follow; undefined: none. */
  readonly kubernetes: KubernetesOptions | undefined
  readonly xds: { readonly host: string; readonly port: number } | undefined
  readonly extProc: { readonly host: string; readonly port: number } | { readonly path: string }
  readonly admin: { readonly host: string; readonly port: number } | undefined
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

export const SERVE_HELP = `Usage: signalbox serve --config FILE|FOLDER [options]
       signalbox serve --kubernetes [--config FILE|FOLDER] [options]

Runs Signalbox: the xDS server that configures Envoys, the ext_proc service that decides their requests, and the admin port.
Configuration is read again when it changes; a bad one is refused whole, with every error, and the last good one stays.

  --config PATH            file or folder of YAML or JSON; may be given several times
  --kubernetes             follow the InferencePools of a Kubernetes API server, what refers to them, and their pods
  --kubeconfig FILE        how to reach it (with --kubernetes) [$KUBECONFIG, else the pod's service account, else ~/.kube/config]
  --namespace NAME         follow one namespace only (with --kubernetes) [all]
  --ext-proc HOST:PORT     where the ext_proc service (and its gRPC health) listens [127.0.0.1:9002]; unix:/PATH for a socket
  --xds HOST:PORT          where the xDS server listens [127.0.0.1:18000]; 'off' where Envoys are configured by others
  --admin HOST:PORT        /metrics, /healthz, /readyz, /pools, /clients, /threads, /configuration [127.0.0.1:9090]; 'off'
  --advertise HOST         how Envoys reach this host [where we listen]

  --pool NAMESPACE/NAME    serve streams of gateways that we don't configure as the endpoint picker of this InferencePool
  --mode-override MODE     when such a gateway sends no bodies: none (decide on headers), buffered, full-duplex (Envoy 1.40). Only where its
                           filter has allow_mode_override: elsewhere it takes our question for a go-ahead [none]
  --tls MODE               ext_proc over TLS: off, self-signed, or CERTFILE,KEYFILE (read again when they change) [off]
  --client-ca FILE         require client certificates signed by this authority (with --tls)
  --xds-tls CERT,KEY       xDS and access logs over TLS: files with the certificate and its key (read again when they change) [plaintext]
  --xds-client-ca FILE     require client certificates there, signed by this authority (with --xds-tls)
  --tls-ca FILE            authority by which Envoys of our fleet verify our certificates and their names (with --tls CERTFILE,KEYFILE or
                           --xds-tls; read at the start) [they do not verify them]
  --tls-client CERT,KEY    files on Envoys' machines with the certificate that they show (with --client-ca or --xds-client-ca)

  --access-log-service on|off   in-flight counts fall by Envoy's gRPC access log; off: by the next metrics scrape [on]
  --descriptors FILE       a FileDescriptorSet, for raw Envoy resources with types or fields that Signalbox does not know
  --plugins FILE[,FILE …]  modules (JavaScript or TypeScript) with plug-ins of your own for an EndpointPickerConfig; see docs/own-plug-ins.md
  --embedded               carry the traffic too, with the embedded data plane (where there is no Envoy)
  --threads N              threads that decide requests [one per core, at most 64]. Several share the port of --ext-proc; Envoys that we configure reach
                           thread i (1, 2, …) at port + i as well (any free one with port 0). Of a socket PATH, the first thread has PATH itself,
                           the others PATH.1, PATH.2, …
  --transport own|node     HTTP/2 of the ext_proc service: our own, or node's [own]
  --trust all|verified     whose resets and control frames are not counted as a flood: everybody's who reaches the port; or those
                           of peers with a verified certificate only, and then others may come without one (with --client-ca) [all]
  --max-held-bytes N       request bytes held by all streams together; beyond it 503 [536870912]
  --max-connection-age S   seconds after which a gateway's connection is replaced, ±10 % [never]
  --max-streams N          requests of one gateway connection at a time, 1 to 1000000; more wait at the gateway, or are refused (REFUSED_STREAM) [4096]
  --max-connections N      gateways' connections to one thread at a time, 1 to 1000000; more get GOAWAY(ENHANCE_YOUR_CALM) [10000]
  --drain S                seconds for open streams at SIGTERM; then they end with UNAVAILABLE [20]
  --emit-endpoint-scores   tell the scores of a pick's candidates in the dynamic metadata envoy.lb, x-gateway-destination-endpoint-scores
  --explain-key-file FILE  requests with its content in the header x-signalbox-explain are told how they were decided; see docs/decisions.md
  --explain-clients-file FILE  … and those that come with one of its TLS client certificates (SHA-256 fingerprints); needs --client-ca
  --trace-file FILE        a sample of the decisions as JSON lines, for 'signalbox replay'; holds hashes of prompts only
  --trace-share N          share of the decisions in it, 0 to 1 (with --trace-file) [0.01]
  --trace-max-bytes N      of one file; three are kept: FILE, FILE.1, FILE.2 (with --trace-file) [67108864]
${MEASURING_HELP}
${PEER_HELP}
  --log-level LEVEL        trace, debug, info, warn, error, fatal, silent [info]
`

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

/** Options that would have no effect, or one that nobody can want. @throws UsageError */
function refuseContradictions(options: ServeOptions): void {
  const { tls, clientCaFile, xdsTls, tlsCaFile, tlsClient, pool, modeOverride, advertise } = options
  const fleet = isFleet(options)
  refusePorts(options)
  const require = (option: string, given: boolean, holds: boolean, what: string) => {
    if (given && !holds) throw new UsageError(`${option} ${what}`)
  }
  const ours = 'is for Envoys that we configure: not with --xds off'
  require('--client-ca', clientCaFile !== undefined, tls !== 'off', 'needs --tls')
  const verifiable = typeof tls === 'object' || xdsTls !== undefined
  const asked = clientCaFile !== undefined || xdsTls?.clientCaFile !== undefined
  require('--tls-ca', tlsCaFile !== undefined, verifiable, 'needs --tls CERTFILE,KEYFILE or --xds-tls')
  require('--trust verified', options.trust === 'verified', options.transport === 'own', 'needs --transport own')
  require('--trust verified', options.trust === 'verified', clientCaFile !== undefined, 'needs --client-ca')
  require('--tls-client', tlsClient !== undefined, asked, 'needs --client-ca or --xds-client-ca')
  require('--tls-ca', tlsCaFile !== undefined, fleet, ours)
  require('--tls-client', tlsClient !== undefined, fleet, ours)
  require('--advertise', advertise !== undefined, fleet, ours)
  require('--xds-tls', xdsTls !== undefined, options.xds !== undefined, 'has nothing to encrypt with --xds off')
  const logs = xdsTls?.clientCaFile !== undefined && options.accessLogService
  require('--xds-client-ca', logs, tlsClient !==
    undefined, 'needs --tls-client: without a certificate Envoys could not send their access logs (or --access-log-service off)')
  const dumb = 'needs --tls-client: without a certificate the Envoys that we configure could not reach ext_proc'
  require('--client-ca', clientCaFile !== undefined && fleet, tlsClient !== undefined, dumb)
  const told = options.records.explainClientsFile !== undefined
  const known = clientCaFile !== undefined || 'path' in options.extProc
  require('--explain-clients-file', told, known, 'needs --client-ca (or --ext-proc unix:PATH): else anybody who reaches us could say that he has such a certificate')
  require('--explain-clients-file', told, !fleet, 'is for gateways that ask clients for certificates: our own fleet does not; not with --xds or --embedded')
  require('--mode-override', modeOverride !== 'none', pool !== undefined ||
    options.picker !== undefined, 'needs --pool: our own fleet sends what is needed')
}

/** Whether we configure data planes. */
export function isFleet({ xds, embedded }: Pick<ServeOptions, 'xds' | 'embedded'>): boolean {
  return xds !== undefined || embedded
}

/** Threads' own ports follow the base, and sockets' names get longer. @throws UsageError */
function refusePorts(options: ServeOptions): void {
  const { extProc, threads } = options
  if ('path' in extProc) {
    if (threads > 1 && Buffer.byteLength(`${extProc.path}.${threads - 1}`) > MAX_PATH_BYTES)
      throw new UsageError(`--ext-proc: with the ending .${threads - 1} the path has more than ${MAX_PATH_BYTES} bytes`)
  } else if (threads > 1 && extProc.port !== 0 && isFleet(options) && extProc.port + threads > 65_535) {
    throw new UsageError(`--ext-proc: no ports for ${threads} threads above ${extProc.port}`)
  } else if (threads > 1 && extProc.port !== 0 && isFleet(options)) {
    for (const [option, listen] of [
      ['--xds', options.xds],
      ['--admin', options.admin],
    ] as const) {
      const thread = listen === undefined ? -1 : listen.port - extProc.port - 1
      if (thread < 0 || thread >= threads || !meet(extProc.host, listen!.host)) continue
      throw new UsageError(`${option}: port ${listen!.port} is that of thread ${thread + 1} (--ext-proc, --threads)`)
    }
  }
}

/** Says of a port in use that it is a thread's own, which nobody has named. */
export function withThread(why: string, { extProc, threads }: Pick<ServeOptions, 'extProc' | 'threads'>): string {
  const port = Number(/:(\d+) is in use$/.exec(why)?.[1])
  if ('path' in extProc || extProc.port === 0 || threads === 1) return why
  const thread = port - extProc.port
  return thread >= 1 && thread <= threads ? `${why}: thread ${thread} has this port of its own (see --threads)` : why
}

function meet(one: string, other: string): boolean {
  return one === other || isWildcard(one) || isWildcard(other)
}

/** How an Envoy reaches a service that listens on `host`. An address that means "all" has to be replaced. */
export function reachableAt(options: ServeOptions, host: string, port: number): string {
  return joinHostPort(options.advertise ?? (isWildcard(host) ? '127.0.0.1' : host), port)
}

export function isWildcard(host: string): boolean {
  return host === '0.0.0.0' || host === '::'
}

/** Of a Unix socket. */
const MAX_PATH_BYTES = 107
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
