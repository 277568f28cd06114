import type { IncomingMessage } from '../extproc/decode-request.ts'
import { type Decider, type Refusal, Verdict } from '../extproc/decider.ts'
import type { Exchange } from '../extproc/exchange.ts'
import { metadataStrings } from '../extproc/metadata.ts'
import type { OpenAiProblem } from '../llm/openai-error.ts'
import { answerProblem } from './answers.ts'
import type { GatewayPool } from './gateway-streams.ts'
import type { NamedPools } from './named-pools.ts'

/** Where a gateway's route or filters say which pool a request is for: dynamic metadata that the ext_proc filter forwards. */
const NAMESPACE = 'signalbox.dev'
const KEY = 'pool'

const NO_POOL: OpenAiProblem = {
  status: 503,
  code: 'unknown_pool',
  type: 'server_error',
  message: 'The gateway does not say for which of its pools this request is.',
}

/**
 * Decides for several pools by handing the exchange on to the decider of the pool that the first message is for: the one that its
 * attributes name; else the only one that the stream may be for; else the one that its metadata name.
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
  readonly #any: Decider

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
    const pool = this.#named.find(message) ?? this.#only ?? this.#byMetadata(message)
    if (pool === undefined) {
      answerProblem(x.decision, NO_POOL)
      return Verdict.DECIDED
    }
    x.decider = pool.decider
    return pool.decider.requestHeaders(x, message, bodyComes)
  }

  #byMetadata({ bytes, metadataStart, metadataEnd }: IncomingMessage): GatewayPool | undefined {
    const names = bytes === undefined ? undefined : metadataStrings(bytes, metadataStart, metadataEnd, NAMESPACE, KEY)
    return Array.isArray(names) ? this.#pools.get(names[0] ?? '') : undefined
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
