import { readFileSync } from 'node:fs'
import { discoveriesIn } from '../../config/endpoints-file.ts'
import { readTexts, type TextFile } from '../../config/object-set.ts'
import { UsageError } from '../command.ts'

interface Standalone {
  readonly namespace: string
  readonly selector: string
  readonly ports: string | undefined
  readonly podName: string | undefined
}

const MOST_PORTS = 8
/** What ReplicaSets and Deployments append to their pods' names. */
const POD_SUFFIX = /-[a-z0-9]{5,10}-[a-z0-9]{5}$/

/**
 * An InferencePool that no API server has, made of flags: the pods with these labels at these ports. It has the name of the Deployment that
 * the pod belongs to. @throws UsageError
 */
export function standalonePool(flags: Standalone): { readonly key: string; readonly text: TextFile } {
  const { namespace, podName } = flags
  if (podName === undefined || podName === '')
    throw new UsageError('--endpoint-selector needs the environment variable POD_NAME, the name of this pod')
  const name = podName.replace(POD_SUFFIX, '')
  const pool = {
    apiVersion: 'inference.networking.k8s.io/v1',
    kind: 'InferencePool',
    metadata: { name, namespace },
    spec: { selector: { matchLabels: parseSelector(flags.selector) }, targetPorts: parsePorts(flags.ports) },
  }
  return { key: `${namespace}/${name}`, text: { file: '--endpoint-selector', text: JSON.stringify(pool) } }
}

/** Whether the picker's configuration has its endpoints from a file. What cannot be read is told later, by who follows it. */
export function discoversEndpoints(file: string | undefined, text: string | undefined): boolean {
  let content = text
  try {
    content ??= file === undefined ? undefined : readFileSync(file, 'utf8')
  } catch {
    return false
  }
  return content !== undefined && discoveriesIn(readTexts([{ file: '', text: content }]).items).length > 0
}

/** An InferencePool `namespace/name` that no API server has, and whose endpoints are not selected but told. */
export function discoveredPool(key: string): TextFile {
  const [namespace, name] = key.split('/')
  const pool = {
    apiVersion: 'inference.networking.k8s.io/v1',
    kind: 'InferencePool',
    metadata: { name, namespace },
    spec: { selector: { matchLabels: { 'signalbox.dev/pool': name } }, targetPorts: [{ number: 8000 }] },
  }
  return { file: '--pool-name', text: JSON.stringify(pool) }
}

function parseSelector(text: string): Record<string, string> {
  const labels: Record<string, string> = {}
  for (const part of text.split(',')) {
    const [, key, value] = /^\s*([A-Za-z0-9._/-]+)\s*==?\s*([A-Za-z0-9._-]*)\s*$/.exec(part) ?? []
    if (key === undefined || value === undefined)
      throw new UsageError(`--endpoint-selector: '${part}' is not LABEL=VALUE`)
    if (Object.hasOwn(labels, key)) throw new UsageError(`--endpoint-selector: '${key}' is there twice`)
    labels[key] = value
  }
  return labels
}

function parsePorts(text: string | undefined): { number: number }[] {
  if (text === undefined) throw new UsageError('--endpoint-selector needs --endpoint-target-ports')
  const ports = text.split(',').map(part => {
    const port = /^\s*\d{1,5}\s*$/.test(part) ? Number(part) : 0
    if (port < 1 || port > 65_535) throw new UsageError(`--endpoint-target-ports: '${part}' is no port`)
    return port
  })
  if (ports.length > MOST_PORTS) throw new UsageError(`--endpoint-target-ports: at most ${MOST_PORTS}`)
  if (new Set(ports).size < ports.length) throw new UsageError('--endpoint-target-ports: a port is there twice')
  return ports.map(number => ({ number }))
}
