/** Route selection as Envoy does it: the most specific virtual host, then the first route whose match holds. */
import type { ExtProcPerRoute } from '../gen/envoy/extensions/filters/http/ext_proc/v3/ext_proc_pb.ts'
import type { LogRecord } from './access-log.ts'
import type { HeaderEdits } from './header-edits.ts'
import type { HeaderList } from './header-list.ts'
import type { RetryRules } from './retry.ts'

export interface RouteTable {
  readonly name: string
  readonly hosts: readonly VirtualHostTable[]
  readonly ignorePort: boolean
}

export interface VirtualHostTable {
  readonly name: string
  /** Lower case. */
  readonly domains: readonly string[]
  readonly routes: readonly RouteEntry[]
}

export interface RouteEntry {
  readonly name: string
  readonly virtualHost: string
  readonly matches: (request: RouteRequest) => boolean
  readonly action: RouteAction
  /** Of the route and its parents, most specific last. */
  readonly requestEdits: readonly HeaderEdits[]
  readonly responseEdits: readonly HeaderEdits[]
  /** Most specific last. */
  readonly extProc: readonly ExtProcPerRoute[]
  readonly bodyBufferLimit: number | undefined
}

export type RouteAction = DirectAction | RedirectRule | ForwardAction

export interface DirectAction {
  readonly type: 'direct'
  readonly status: number
  /** Undefined: `text/plain` when there is a body. */
  readonly contentType: string | undefined
  readonly body: (record: LogRecord) => string
}

export interface RedirectRule {
  readonly type: 'redirect'
  readonly status: number
  readonly location: (request: RouteRequest) => string
}

export interface MirrorTarget {
  readonly cluster: string
  /** Of all requests, 0 to 1. */
  readonly fraction: number
}

export interface ForwardAction {
  readonly type: 'forward'
  readonly clusters: readonly WeightedTarget[]
  readonly clusterHeader: string | undefined
  readonly notFoundStatus: number
  readonly rewritePath: ((path: string) => string) | undefined
  readonly rewriteHost: ((headers: HeaderList) => string | undefined) | undefined
  /** 0 = none. */
  readonly timeoutMs: number
  /** Undefined: the listener's. */
  readonly idleTimeoutMs: number | undefined
  readonly retry: RetryRules | undefined
  readonly mirrors: readonly MirrorTarget[]
}

export interface WeightedTarget {
  readonly cluster: string
  readonly weight: number
  readonly requestEdits: HeaderEdits
  readonly responseEdits: HeaderEdits
  readonly extProc: readonly ExtProcPerRoute[]
  readonly hostRewrite: string | undefined
}

/** A route with one of its weighted targets drawn. */
export interface SelectedRoute {
  readonly entry: RouteEntry
  readonly target: WeightedTarget | undefined
}

/** What matches look at. */
export interface RouteRequest {
  readonly headers: HeaderList
  /** Without query. */
  readonly path: string
  readonly query: URLSearchParams
}

/** `random` in [0, 1) draws among weighted clusters. */
export function selectRoute(table: RouteTable, headers: HeaderList, random: number): SelectedRoute | undefined {
  const host = findHost(table, (headers.get(':authority') ?? '').toLowerCase())
  if (host === undefined) return undefined
  const request = routeRequest(headers)
  const entry = host.routes.find(route => route.matches(request))
  if (entry === undefined) return undefined
  return { entry, target: entry.action.type === 'forward' ? drawTarget(entry.action, headers, random) : undefined }
}

/** The parts of a request that routes look at. */
export function routeRequest(headers: HeaderList): RouteRequest {
  const target = headers.get(':path')?.split('#', 1)[0] ?? ''
  const cut = target.indexOf('?')
  return {
    headers,
    path: cut < 0 ? target : target.slice(0, cut),
    query: new URLSearchParams(cut < 0 ? '' : target.slice(cut + 1)),
  }
}

function drawTarget(action: ForwardAction, headers: HeaderList, random: number): WeightedTarget | undefined {
  if (action.clusterHeader !== undefined) {
    const cluster = headers.get(action.clusterHeader)
    const first = action.clusters[0]
    return cluster === undefined || first === undefined ? undefined : { ...first, cluster }
  }
  let rest = random * action.clusters.reduce((sum, target) => sum + target.weight, 0)
  for (const target of action.clusters) {
    if (rest < target.weight) return target
    rest -= target.weight
  }
  return action.clusters.at(-1)
}

/** Exact, then the longest `*.suffix`, then the longest `prefix.*`, then `*`. */
function findHost(table: RouteTable, authority: string): VirtualHostTable | undefined {
  const name = table.ignorePort ? withoutPort(authority) : authority
  let best: VirtualHostTable | undefined
  let rank = -1
  for (const host of table.hosts)
    for (const domain of host.domains) {
      const score = domainRank(domain, name)
      if (score > rank) {
        rank = score
        best = host
      }
    }
  return best
}

const EXACT = 3_000_000
const SUFFIX = 2_000_000
const PREFIX = 1_000_000

function domainRank(domain: string, name: string): number {
  if (domain === '*') return 0
  if (domain === name) return EXACT
  // A wildcard stands for at least one character.
  if (domain.startsWith('*'))
    return name.length >= domain.length && name.endsWith(domain.slice(1)) ? SUFFIX + domain.length : -1
  if (domain.endsWith('*'))
    return name.length >= domain.length && name.startsWith(domain.slice(0, -1)) ? PREFIX + domain.length : -1
  return -1
}

/** `:port` or nothing. */
export function portSuffix(authority: string): string {
  return authority.slice(withoutPort(authority).length)
}

export function withoutPort(authority: string): string {
  return /^(.*[^:]|\[.*\]):\d+$/.exec(authority)?.[1] ?? authority
}
