/** The servers that are measured, each a process of its own, and the endpoints that ours scrapes. */
import { createConnection } from 'node:net'
import { join } from 'node:path'
import { freePort } from '../support/free-ports.ts'
import { waitFor } from '../support/wait-for.ts'
import { firstLine, start, type Started } from './child-programs.ts'
import type { Yardsticks } from './yardsticks.ts'

export const CONTENDERS = ['ours', 'ours-request-only', 'ours-look', 'refserver', 'refserver-parse', 'grpc-js'] as const
export type ContenderName = (typeof CONTENDERS)[number]

export interface Contender {
  readonly name: ContenderName
  readonly address: string
  readonly pid: number
}

const ENTRY: Readonly<Partial<Record<ContenderName, string>>> = {
  ours: 'fds',
  'ours-request-only': 'request-only',
  'ours-look': 'look',
}

/** As `bin/signalbox` starts Node. */
const NODE_OPTIONS = ['--max-semi-space-size=2']

/** Resolves when something listens there. */
export async function listens(port: number): Promise<void> {
  const probe = () =>
    new Promise<boolean>(resolve => {
      const socket = createConnection({ host: '127.0.0.1', port })
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
      socket.once('connect', () => socket.destroy())
    })
  await waitFor(`port ${port}`, probe)
}

/** Starts `count` endpoints and returns their addresses. */
export async function startEndpoints(count: number, yardsticks: Yardsticks | undefined): Promise<readonly string[]> {
  if (yardsticks === undefined) {
    const server = start(process.execPath, [join(import.meta.dirname, 'metrics-server.ts'), String(count)])
    const { ports } = JSON.parse(await firstLine(server)) as { ports: readonly number[] }
    return ports.map(port => `127.0.0.1:${port}`)
  }
  const first = await freeStretch(count)
  start(yardsticks.fakevllm, ['-moving', '-ports', `${first}-${first + count - 1}`])
  await listens(first + count - 1)
  return Array.from({ length: count }, (_, i) => `127.0.0.1:${first + i}`)
}

/** The first of `count` consecutive ports that are free now: fakevllm wants a range. */
async function freeStretch(count: number): Promise<number> {
  let first = await freePort()
  for (let last = first; last < first + count - 1; ) {
    const next = await freePort()
    if (next !== last + 1) first = next
    last = next
  }
  return first
}

/** Starts a contender; undefined when it is a Go program and there are none. `nodeArgs` go to Node for ours. */
export async function startContender(
  name: ContenderName,
  endpoints: readonly string[],
  yardsticks: Yardsticks | undefined,
  nodeArgs: readonly string[] = [],
): Promise<(Contender & { stop(): Promise<void> }) | undefined> {
  if (name === 'refserver' || name === 'refserver-parse') {
    if (yardsticks === undefined) return undefined
    const port = await freePort()
    const parse = name === 'refserver-parse' ? ['-parse'] : []
    const server = start(yardsticks.refserver, ['-addr', `127.0.0.1:${port}`, ...parse])
    await listens(port)
    return contender(name, port, server)
  }
  const entry = ENTRY[name]
  const script =
    entry === undefined
      ? ['grpc-js-server.ts']
      : ['ext-proc-server.ts', '--entry', entry, '--endpoints', endpoints.join(',')]
  const server = start(process.execPath, [
    ...(entry === undefined ? [] : [...NODE_OPTIONS, ...nodeArgs]),
    join(import.meta.dirname, script[0]!),
    ...script.slice(1),
  ])
  const { port } = JSON.parse(await firstLine(server)) as { port: number }
  return contender(name, port, server)
}

function contender(name: ContenderName, port: number, server: Started): Contender & { stop(): Promise<void> } {
  return { name, address: `127.0.0.1:${port}`, pid: server.pid, stop: () => server.stop() }
}
