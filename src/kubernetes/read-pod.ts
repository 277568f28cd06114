import { isIP } from 'node:net'
import type { Pod } from '../config/kinds/pod.ts'
import type { Kept } from './reflector-options.ts'

/** Comma-separated port numbers; the second is the older name. */
const ACTIVE_PORTS = ['llm-d.ai/active-ports', 'inference.networking.k8s.io/active-ports'] as const

interface RawPod {
  readonly metadata: {
    readonly name: string
    readonly namespace?: string
    readonly labels?: Readonly<Record<string, string>>
    readonly annotations?: Readonly<Record<string, string>>
    readonly deletionTimestamp?: string
  }
  readonly status?: {
    readonly podIP?: string
    readonly conditions?: readonly { readonly type: string; readonly status: string }[]
  }
}

/** A pod as an API server tells of it: undefined unless it is ready, has an address and is not being deleted. */
export function readPod(object: unknown): Kept<Pod> | undefined {
  const { metadata, status } = object as RawPod
  const ready = status?.conditions?.some(condition => condition.type === 'Ready' && condition.status === 'True')
  const address = status?.podIP ?? ''
  if (ready !== true || metadata.deletionTimestamp != null || isIP(address) === 0) return undefined
  const { name, namespace = 'default', labels = {}, annotations } = metadata
  const ports = ACTIVE_PORTS.map(key => annotations?.[key]).find(text => text !== undefined)
  const activePorts = ports === undefined ? undefined : readPorts(ports)
  const pod: Omit<Pod, 'origin'> = {
    kind: 'Pod',
    // The other annotations are nobody's business here, and change often.
    metadata: { name, namespace, labels, annotations: {} },
    address,
    ...(activePorts === undefined ? {} : { activePorts }),
  }
  return {
    value: { ...pod, origin: { locate: () => ({ file: 'kubernetes' }) } },
    fingerprint: JSON.stringify(pod),
  }
}

/** What is no port is passed over: a pod with none left serves nothing, as its owner says. */
function readPorts(text: string): number[] {
  return text
    .split(',')
    .map(part => Number(part.trim()))
    .filter(port => Number.isInteger(port) && port >= 1 && port <= 65_535)
}
