/** Follows the events of a pool's endpoints: a feed for each (./endpoint-feed.ts), as they come and go. */
import { EndpointFeed } from './endpoint-feed.ts'
import { FeedCounts } from './feed-counts.ts'
import { FEED_TIMES, type FeedTimes } from './feed-times.ts'
import { EVENTS_PORT_LABEL, type KvEventsPlan, type LabelRequirement, REPLAY_PORT_LABEL } from './kv-events-plan.ts'
import type { KvLedger } from './kv-ledger.ts'
import { PendingTotal } from './pending-batches.ts'
import { ReplayLimiter } from './replay-limiter.ts'
import { TURNS } from './turns.ts'

/** An endpoint of the pool, in its place for as long as `generation` is the same. */
export interface FollowedEndpoint {
  readonly slot: number
  readonly generation: number
  /** `ip:port` */
  readonly address: string
  readonly labels: Readonly<Record<string, string>>
}

export interface PoolFeedOptions {
  readonly times?: FeedTimes
  /** An endpoint's connection came up, or why it is down. */
  readonly onChange?: (address: string, problem: string | undefined) => void
}

/** Of all pools: each replay may be many megabytes. Few of a host, so that no few hosts hold all places. */
const LIMITER = new ReplayLimiter(16, 2)
/** … and what comes in the meantime waits. */
const PENDING = new PendingTotal(128 * 1024 * 1024)

interface Followed {
  readonly key: string
  readonly feed: EndpointFeed
}

export class PoolFeed {
  readonly counts = new FeedCounts()
  readonly #options: PoolFeedOptions
  readonly #feeds = new Map<number, Followed>()

  constructor(options: PoolFeedOptions = {}) {
    this.#options = options
  }

  get endpoints(): number {
    return this.#feeds.size
  }

  get connected(): number {
    let connected = 0
    for (const { feed } of this.#feeds.values()) if (feed.connected) connected++
    return connected
  }

  /** Follows exactly these endpoints from now on, as far as the plan wants them. */
  follow(endpoints: readonly FollowedEndpoint[], ledger: KvLedger): void {
    const { plan } = ledger
    const wanted = new Map<number, { readonly key: string; readonly endpoint: FollowedEndpoint; readonly at: Ports }>()
    const ranks = ranksOf(endpoints)
    for (const endpoint of endpoints) {
      if (plan.labels?.every(requirement => meets(endpoint.labels, requirement)) === false) continue
      const at = portsOf(endpoint, plan, ranks.get(endpoint.address)!)
      const key = JSON.stringify([endpoint.generation, endpoint.address, at, plan])
      wanted.set(endpoint.slot, { key, endpoint, at })
    }
    for (const [slot, { key, feed }] of this.#feeds) {
      if (wanted.get(slot)?.key === key) continue
      feed.stop()
      this.#feeds.delete(slot)
    }
    for (const [slot, { key, endpoint, at }] of wanted) {
      if (this.#feeds.has(slot)) continue
      ledger.clear(slot)
      this.#feeds.set(slot, { key, feed: this.#start(endpoint, at, ledger) })
    }
  }

  stop(): void {
    for (const { feed } of this.#feeds.values()) feed.stop()
    this.#feeds.clear()
  }

  #start({ slot, address }: FollowedEndpoint, { events, replay }: Ports, ledger: KvLedger): EndpointFeed {
    const { times = FEED_TIMES, onChange } = this.#options
    return new EndpointFeed({
      host: hostOf(address),
      port: events,
      replayPort: replay,
      topicFilter: ledger.plan.topicFilter,
      target: {
        stored: event => ledger.stored(slot, event),
        removed: event => ledger.removed(slot, event),
        clear: () => ledger.clear(slot),
        sweep: () => ledger.sweep(slot),
        doubt: () => ledger.doubt(slot),
        forgetDoubtful: () => ledger.forgetDoubtful(slot),
      },
      counts: this.counts,
      limiter: LIMITER,
      turns: TURNS,
      pendingTotal: PENDING,
      times,
      onChange: problem => onChange?.(address, problem),
    })
  }
}

interface Ports {
  readonly events: number
  readonly replay: number
}

function portsOf({ labels }: FollowedEndpoint, { socketPort, replayPort }: KvEventsPlan, rank: number): Ports {
  const events = portLabel(labels[EVENTS_PORT_LABEL])
  const replay = portLabel(labels[REPLAY_PORT_LABEL])
  return {
    events: events ?? Math.min(socketPort + rank, 65_535),
    replay: replay ?? (replayPort === 0 || events !== undefined ? 0 : Math.min(replayPort + rank, 65_535)),
  }
}

function portLabel(text: string | undefined): number | undefined {
  const port = text === undefined || !/^\d{1,5}$/.test(text) ? 0 : Number(text)
  return port > 0 && port <= 65_535 ? port : undefined
}

/** Engines of one host publish on consecutive ports, in the order of those that they serve on (data-parallel ranks). */
function ranksOf(endpoints: readonly FollowedEndpoint[]): ReadonlyMap<string, number> {
  const ports = new Map<string, number[]>()
  for (const { address } of endpoints) {
    const host = hostOf(address)
    const known = ports.get(host)
    if (known === undefined) ports.set(host, [portOf(address)])
    else known.push(portOf(address))
  }
  for (const list of ports.values()) list.sort((a, b) => a - b)
  return new Map(endpoints.map(({ address }) => [address, ports.get(hostOf(address))!.indexOf(portOf(address))]))
}

function hostOf(address: string): string {
  return address.slice(0, address.lastIndexOf(':')).replace(/^\[|\]$/g, '')
}

function portOf(address: string): number {
  return Number(address.slice(address.lastIndexOf(':') + 1))
}

function meets(labels: Readonly<Record<string, string>>, { key, operator, value }: LabelRequirement): boolean {
  const has = Object.hasOwn(labels, key)
  if (operator === 'exists') return has
  if (operator === 'absent') return !has
  return operator === 'equals' ? has && labels[key] === value : labels[key] !== value
}
