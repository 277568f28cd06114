import { TokenChain } from './token-chain.ts'

export type FinishReason = 'stop' | 'length' | 'abort'

/** What one request asks of the engine. */
export interface SequenceRequest {
  readonly id: string
  readonly prompt: Uint32Array
  /** LoRA adapter; absent: the base model. */
  readonly lora?: string
  /** Part of every block key: sequences with different salts share no cache. */
  readonly cacheSalt?: string
  /** Keys and values of the prompt have come from another replica. */
  readonly prefilled?: boolean
  /** Tokens after which generation is cut. 0: only the prompt is computed. */
  readonly maxTokens: number
  /** Tokens after which the text ends by itself; infinite when the end of text is ignored, 0 for embeddings. */
  readonly naturalLength: number
  /** The id of generated token `index`. Asked once for each, in order. */
  generate(index: number): number
  /** A token was generated; with it the sequence ends when `reason` is given, or when the answer is true (a stop string). */
  token(index: number, reason: FinishReason | undefined): boolean
  /** Called once, whatever the end (`cancel` too); the sequence holds nothing any more. */
  finished(sequence: Sequence, reason: FinishReason): void
}

/** A request inside the engine. All times are simulated milliseconds. */
export class Sequence {
  readonly request: SequenceRequest
  readonly chain: TokenChain
  readonly arrivedAt: number
  state: 'waiting' | 'running' | 'done' = 'waiting'
  /** When it first left the queue. */
  scheduledAt: number | undefined
  firstTokenAt: number | undefined
  lastTokenAt: number | undefined
  finishedAt: number | undefined
  /** Prompt tokens found in the cache when it was first scheduled. */
  cachedTokens = 0
  generated = 0
  preemptions = 0
  /** Tokens whose KV content is computed. */
  computed = 0
  /** Tokens to compute before decoding goes on, one by one. */
  prefillTarget = 0
  blocks: number[] = []

  constructor(request: SequenceRequest, blockSize: number, now: number) {
    this.request = request
    this.arrivedAt = now
    this.chain = new TokenChain(blockSize, `${request.lora ?? ''}\n${request.cacheSalt ?? ''}`)
    for (const token of request.prompt) this.chain.append(token)
  }
}
