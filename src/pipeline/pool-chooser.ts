import type { IncomingMessage } from '../extproc/decode-request.ts'
import { type Decider, type Refusal, Verdict } from '../extproc/decider.ts'
import type { Exchange } from '../extproc/exchange.ts'
import { metadataStrings } from '../extproc/metadata.ts'
import { unknownPool } from '../llm/openai-error.ts'
import type { EntryDecider } from './entry-decider.ts'
import type { GatewayPool } from './gateway-streams.ts'
import { NOT_HERE, type NamedPools } from './named-pools.ts'

/** Where a gateway's route or filters say which pool a request is for: dynamic metadata that the ext_proc filter forwards. */
const NAMESPACE = 'signalbox.dev'
const KEY = 'pool'

/**
 * Decides for pools by handing the exchange on to the decider of the pool that the first message is for: the one that its attributes name;
 * else the one that its metadata name, of those that the stream may be for; else the only one of those. A request that names a pool
 * which is not here goes to no other.
 */
export class PoolChooser implements Decider {
  readonly maxBodyBytes: number
  readonly messageTimeoutMs: number
  readonly uploadTimeoutMs: number
  readonly uploadIdleMs: number
  readonly followsResponse = true
  readonly retryBufferBytes: number
  readonly mayRewrite: boolean
  readonly #named: NamedPools
  readonly #only: GatewayPool | undefined
  readonly #pools: ReadonlyMap<string, GatewayPool>
  readonly #any: EntryDecider

  /** @param pools those that a stream without attributes may be for, of `all` */
  constructor(all: readonly GatewayPool[], named: NamedPools, pools: readonly GatewayPool[]) {
    this.#named = named
    this.#only = pools.length === 1 ? pools[0] : undefined
    this.#pools = new Map(pools.map(pool => [pool.plan.pool, pool]))
    const deciders = all.map(({ decider }) => decider)
    this.#any = deciders[0]!
    this.maxBodyBytes = Math.max(...deciders.map(({ maxBodyBytes }) => maxBodyBytes))
    this.messageTimeoutMs = Math.min(...deciders.map(({ messageTimeoutMs }) => messageTimeoutMs))
    this.uploadTimeoutMs = Math.min(...deciders.map(({ uploadTimeoutMs }) => uploadTimeoutMs))
    this.uploadIdleMs = Math.min(...deciders.map(({ uploadIdleMs }) => uploadIdleMs))
    this.retryBufferBytes = Math.max(...deciders.map(({ retryBufferBytes }) => retryBufferBytes))
    this.mayRewrite = deciders.some(({ mayRewrite }) => mayRewrite)
  }

  requestHeaders(x: Exchange, message: IncomingMessage, bodyComes: boolean): Verdict {
    const pool = this.#named.find(message) ?? this.#byMetadata(message) ?? this.#only
    if (pool === undefined || pool === NOT_HERE) {
      // Whose count and trace it is: some decider's, which then also learns that the stream is over.
      x.decider = this.#any
      return this.#any.refuseAtOnce(x, unknownPool(pool === NOT_HERE))
    }
    x.decider = pool.decider
    return pool.decider.requestHeaders(x, message, bodyComes)
  }

  #byMetadata({ bytes, metadataStart, metadataEnd }: IncomingMessage): GatewayPool | typeof NOT_HERE | undefined {
    if (bytes === undefined || metadataStart < 0) return undefined
    const names = metadataStrings(bytes, metadataStart, metadataEnd, NAMESPACE, KEY)
    const name = Array.isArray(names) ? names[0] : undefined
    return name === undefined ? undefined : (this.#pools.get(name) ?? NOT_HERE)
  }

  requestMetadata(): void {}

  requestBody(): Verdict {
    return Verdict.MORE
  }

  requestEnd(): Verdict {
    return Verdict.MORE
  }

  /** Before it is known which: they word it alike. */
  refuse(x: Exchange, refusal: Refusal): void {
    this.#any.refuse(x, refusal)
  }

  responseHeaders(): void {}

  responseEnd(): void {}

  closed(): void {}
}
