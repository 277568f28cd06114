/** The servers that are measured, each a process of its own, and the endpoints that ours scrapes. */
import { createConnection } from 'node:net'
import { availableParallelism } from 'node:os'
import { dirname, join } from 'node:path'
import { freePort } from '../support/free-ports.ts'
import { waitFor } from '../support/wait-for.ts'
import type { EntryName } from './bench-plan.ts'
import { firstLine, start, type Started } from './child-programs.ts'
import type { Yardsticks } from './yardsticks.ts'

const ROOT = dirname(dirname(import.meta.dirname))

/** Servers that the bench starts itself. */
const OWN_CONTENDERS = ['own', 'node', 'refserver', 'refserver-parse', 'grpc-js', 'connect-node'] as const
/** One of those, or the name of a peer that is running already. */
export type ContenderName = (typeof OWN_CONTENDERS)[number] | (string & {})

export interface Contender {
  readonly name: ContenderName
  readonly pid: number
  /** Where it plays an entry of ours; other servers have one address. */
  address(entry: EntryName): string
  stop(): Promise<void>
}

/** A server that somebody else has started: `--peer name=address,pid`. */
export interface Peer {
  readonly name: string
  readonly address: string
  readonly pid: number
}

/** Whether it really routes and picks, so that its answers can be held against that. */
export function isOurs(name: ContenderName): boolean {
  return name === 'own' || name === 'node'
}

/** @throws Error when it is not `name=host:port,pid`, or the name is taken */
export function parsePeer(text: string): Peer {
  const [, name, address, pid] = /^([^=,\s]+)=([^=,\s]+:\d+),(\d+)$/.exec(text) ?? []
  if (name === undefined || address === undefined) throw new Error(`--peer: '${text}' is not NAME=HOST:PORT,PID`)
  if ((OWN_CONTENDERS as readonly string[]).includes(name))
    throw new Error(`--peer: '${name}' is a contender of the bench`)
  return { name, address, pid: Number(pid) }
}

/** As `bin/signalbox` starts Node. */
const NODE_OPTIONS = ['--max-semi-space-size=2']
const NODE_ENVIRONMENT = {
  NODE_COMPILE_CACHE: join(ROOT, 'node_modules', '.cache', 'signalbox-bench'),
  MALLOC_ARENA_MAX: String(Math.max(2, Math.floor(availableParallelism() / 2))),
}
/** A server that ran and ended: the compile cache is as filled as that of anyone's second start. */
let compiled: Promise<void> | undefined

function startOurs(args: readonly string[]): Started {
  const program = join(import.meta.dirname, 'ext-proc-server.ts')
  return start(process.execPath, [...NODE_OPTIONS, program, ...args], NODE_ENVIRONMENT)
}

async function compileOurs(args: readonly string[]): Promise<void> {
  const server = startOurs(args)
  await firstLine(server)
  await server.stop()
}

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

export interface ContenderOptions {
  readonly endpoints: readonly string[]
  readonly yardsticks: Yardsticks | undefined
  readonly peers?: readonly Peer[]
  /** Folder for the CPU profiles of our servers. */
  readonly profiles?: string | undefined
}

/** Starts a contender, or takes a peer; undefined when it is a Go program and there are none. */
export async function startContender(name: ContenderName, options: ContenderOptions): Promise<Contender | undefined> {
  const { endpoints, yardsticks, peers = [], profiles } = options
  const peer = peers.find(each => each.name === name)
  if (peer !== undefined) return { name, pid: peer.pid, address: () => peer.address, stop: () => Promise.resolve() }
  if (name === 'refserver' || name === 'refserver-parse') {
    if (yardsticks === undefined) return undefined
    const port = await freePort()
    const parse = name === 'refserver-parse' ? ['-parse'] : []
    const server = start(yardsticks.refserver, ['-addr', `127.0.0.1:${port}`, ...parse])
    await listens(port)
    return contender(name, server, () => port)
  }
  if (!isOurs(name)) {
    const script = name === 'grpc-js' ? 'grpc-js-server.ts' : 'connect-server.ts'
    const server = start(process.execPath, [join(import.meta.dirname, script)])
    const { port } = JSON.parse(await firstLine(server)) as { readonly port: number }
    return contender(name, server, () => port)
  }
  const profiling = profiles === undefined ? [] : ['--profile', join(profiles, `${name}.cpuprofile`)]
  const args = ['--transport', name, '--endpoints', endpoints.join(',')]
  await (compiled ??= compileOurs(args))
  const server = startOurs([...args, ...profiling])
  const { ports } = JSON.parse(await firstLine(server)) as { readonly ports: Readonly<Record<EntryName, number>> }
  return contender(name, server, entry => ports[entry])
}

function contender(name: ContenderName, server: Started, port: (entry: EntryName) => number): Contender {
  return { name, pid: server.pid, address: entry => `127.0.0.1:${port(entry)}`, stop: () => server.stop() }
}
