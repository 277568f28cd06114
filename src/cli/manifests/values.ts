import { UsageError } from '../command.ts'
import { parseCount, parseOptions } from '../options.ts'
import { readPickerConfig } from './picker-config.ts'

type Flavour = 'istio' | 'gke' | 'agentgateway'

/** A model and the pool that serves it. */
interface ModelRoute {
  readonly model: string
  readonly pool: PoolValues
}

export interface PoolValues {
  readonly name: string
  /** Labels of its pods. */
  readonly labels: Readonly<Record<string, string>>
}

/** What manifests are made of. */
export interface ManifestValues {
  /** Of the Deployment, the Service and all that belongs to them. */
  readonly name: string
  readonly namespace: string
  readonly image: string
  readonly replicas: number
  /** A Secret with `tls.crt`, `tls.key` and `ca.crt`: replicas show each other certificates. */
  readonly peerTls: string | undefined
  /** Of the replicas one is ready. */
  readonly leaderElection: boolean
  /** The first is where requests go whose model no other has. */
  readonly pools: readonly PoolValues[]
  readonly models: readonly ModelRoute[]
  readonly targetPort: number
  readonly h2c: boolean
  readonly failureMode: 'FailOpen' | 'FailClose'
  readonly gateway: string
  readonly gatewayNamespace: string
  /** Text of the configuration file of llm-d's kind. */
  readonly pickerConfig: string | undefined
  readonly flavour: Flavour
}

const DNS_LABEL = /^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/
const FLAVOURS: readonly Flavour[] = ['istio', 'gke', 'agentgateway']

/** @throws UsageError */
export function parseManifestValues(argv: readonly string[]): ManifestValues {
  const { values } = parseOptions(argv, {
    name: { type: 'string', default: 'signalbox' },
    namespace: { type: 'string', default: 'default' },
    image: { type: 'string', default: 'signalbox:latest' },
    replicas: { type: 'string', default: '2' },
    'peer-tls': { type: 'string' },
    'leader-election': { type: 'boolean', default: false },
    pool: { type: 'string', multiple: true },
    model: { type: 'string', multiple: true, default: [] },
    'target-port': { type: 'string', default: '8000' },
    'app-protocol': { type: 'string', default: 'http' },
    'failure-mode': { type: 'string', default: 'FailOpen' },
    gateway: { type: 'string', default: 'inference-gateway' },
    'gateway-namespace': { type: 'string' },
    'picker-config': { type: 'string' },
    flavour: { type: 'string', default: 'istio' },
  })
  const pools = (values.pool ?? ['llm:app=llm']).map(readPool)
  const targetPort = parseCount(values['target-port'], '--target-port', 1)
  if (targetPort > 65_535) throw new UsageError(`--target-port: '${targetPort}' is no port`)
  const { flavour } = values
  if (!isFlavour(flavour)) throw new UsageError(`--flavour: '${flavour}' is none of ${FLAVOURS.join(', ')}`)
  const protocol = values['app-protocol']
  if (protocol !== 'http' && protocol !== 'kubernetes.io/h2c')
    throw new UsageError(`--app-protocol: '${protocol}' is neither http nor kubernetes.io/h2c`)
  const replicas = parseCount(values.replicas, '--replicas', 1)
  const peerTls = values['peer-tls'] === undefined ? undefined : label(values['peer-tls'], '--peer-tls')
  if (peerTls !== undefined && replicas < 2)
    throw new UsageError('--peer-tls: there is one replica, and no other to talk to')
  const leaderElection = values['leader-election']
  if (leaderElection && replicas < 2)
    throw new UsageError('--leader-election: there is one replica, and no other to lead')
  const failureMode = values['failure-mode']
  if (failureMode !== 'FailOpen' && failureMode !== 'FailClose')
    throw new UsageError(`--failure-mode: '${failureMode}' is neither FailOpen nor FailClose`)
  if (new Set(pools.map(({ name }) => name)).size < pools.length) throw new UsageError('--pool: a pool is there twice')
  return {
    name: label(values.name, '--name'),
    namespace: label(values.namespace, '--namespace'),
    image: values.image,
    replicas,
    peerTls,
    leaderElection,
    pools,
    models: values.model.map(text => readModel(text, pools)),
    targetPort,
    h2c: protocol !== 'http',
    failureMode,
    gateway: label(values.gateway, '--gateway'),
    gatewayNamespace: label(values['gateway-namespace'] ?? values.namespace, '--gateway-namespace'),
    pickerConfig: values['picker-config'] === undefined ? undefined : readPickerConfig(values['picker-config']),
    flavour,
  }
}

function isFlavour(text: string): text is Flavour {
  return (FLAVOURS as readonly string[]).includes(text)
}

function label(text: string, option: string): string {
  if (!DNS_LABEL.test(text)) throw new UsageError(`${option}: '${text}' is no name in Kubernetes`)
  return text
}

/** `NAME:LABEL=VALUE,…` */
function readPool(text: string): PoolValues {
  const colon = text.indexOf(':')
  if (colon < 0) throw new UsageError(`--pool: '${text}' is not NAME:LABEL=VALUE[,LABEL=VALUE]`)
  const labels: Record<string, string> = {}
  for (const part of text.slice(colon + 1).split(',')) {
    const [, key, value] = /^([A-Za-z0-9._/-]+)=([A-Za-z0-9._-]*)$/.exec(part) ?? []
    if (key === undefined || value === undefined) throw new UsageError(`--pool: '${part}' is not LABEL=VALUE`)
    labels[key] = value
  }
  return { name: label(text.slice(0, colon), '--pool'), labels }
}

/** `MODEL=POOL` */
function readModel(text: string, pools: readonly PoolValues[]): ModelRoute {
  const at = text.lastIndexOf('=')
  const pool = pools.find(({ name }) => name === text.slice(at + 1))
  if (at < 1 || pool === undefined)
    throw new UsageError(
      `--model: '${text}' is not MODEL=POOL with a pool of --pool (${pools.map(({ name }) => name).join(', ')})`,
    )
  return { model: text.slice(0, at), pool }
}
