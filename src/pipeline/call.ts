import { PrefixHasher } from '../inference/prefix-hasher.ts'
import { PickResult } from '../inference/pool.ts'
import type { Pool, PickRequest } from '../inference/pool.ts'
import { TokenIds } from '../inference/kv-events/token-ids.ts'
import { HeaderView } from '../extproc/header-view.ts'
import { BodyCopy } from './body-copy.ts'
import { BodyFacts } from './body-facts.ts'
import type { ModelEditor } from '../llm/model-editor.ts'
import type { RequestApi } from '../llm/request-apis.ts'
import type { GrpcUsageReader } from '../llm/grpc-usage-reader.ts'
import type { UsageReader } from '../llm/usage-reader.ts'
import type { ResponseUsage, UsageOwner } from './response-usage.ts'
import type { Measured } from './measured.ts'
import type { RequestTrace } from './request-trace.ts'
import type { WaitingCall } from './pool-entrance.ts'
import type { CallLease } from './call-lease.ts'
import type { Hooked } from './request-hooks.ts'
import type { RuleFacts } from './rules.ts'

/** What the pipeline knows of one request. Pooled by a linked plan's deciders; given back in `closed`. */
export class Call implements RuleFacts {
  readonly facts = new BodyFacts(new PrefixHasher())
  readonly pick: PickRequest = { model: '', prefix: undefined, promptBytes: 0, subset: undefined, nowMs: 0 }
  readonly picked = new PickResult()

  path = ''
  pathEnd = 0
  method = ''
  headers = NO_HEADERS
  model: string | undefined
  baseModel: string | undefined
  /** A body of a media type that we cannot read. */
  unreadable = false
  /** `content-length`; −1 = unknown. */
  bodyBytes = -1
  /** The gateway lets us see the response. */
  responseSeen = false
  /** The API that the path belongs to, by the parsers of the pool; undefined: nobody asked. */
  api: RequestApi | undefined
  subset: string[] | undefined
  /** The subset hint was too long to be read. */
  subsetTooLarge = false
  /** The model that a header puts in the place of the body's. */
  rewriteTo: string | undefined
  /** System-owned headers that came with the request, to be removed. */
  readonly forged: string[] = []

  /** Where it goes: the ordered endpoint list, '' = the data plane balances; the model put in the place of its own; and why. */
  endpoints = ''
  rewritten: string | undefined
  reason = ''

  /** Kept where a pool asks for its tokens elsewhere; and the tokens. */
  readonly body = new BodyCopy(MAX_COPIED_BYTES)
  readonly tokens = new TokenIds()

  /** Ends what the decision waits for: its tokens, or others of its burst (./deferral.ts). */
  cancelDeferral: (() => void) | undefined

  /** It waits, or has waited, before a pool. */
  waiting: WaitingCall | undefined

  /** It may be called back, or counts among those of which some may be. */
  lease: CallLease | undefined

  /** The endpoint of a data-parallel rank that was picked; '' = the first of `endpoints` is. */
  rank = ''
  /** Headers that tell replicas who else has a part in the request, as name, value, name, value (./stage-headers.ts). */
  readonly told: string[] = []
  /** The pool in which counts of other replicas rose for this call. */
  staged: Pool | undefined

  /** Puts the model that the client asked for into the response; kept for the next request that needs one. */
  editor: ModelEditor | undefined

  /** Read the usage of responses (./response-usage.ts), kept for the next request; the one that does so of this; and for whom. */
  usage: UsageReader | undefined
  grpcUsage: GrpcUsageReader | undefined
  readsUsage: UsageReader | GrpcUsageReader | undefined
  follower: ResponseUsage | undefined
  owner: UsageOwner | undefined
  /** The first event of the response gives back the tokens of the prompt. */
  releasesPrompt = false

  /** Of the decision record (./decision-records.ts): who wants it, since when it is made, and what the client is told. */
  explained = false
  /** It came with a certificate whose owner may have it. */
  isOperator = false
  traced = false
  recordedAt = 0
  explanation = ''

  /** What metrics remember of it, kept for the next request; absent: nobody has wanted any. */
  measured: Measured | undefined
  /** It is traced. */
  trace: RequestTrace | undefined

  /** Users' own hooks follow it. */
  hooked: Hooked | undefined

  /** The pool whose in-flight count rose for this call, to fall when the response ends. */
  counted: Pool | undefined

  clear(): void {
    this.facts.clear()
    this.path = ''
    this.pathEnd = 0
    this.method = ''
    this.headers = NO_HEADERS
    this.model = undefined
    this.baseModel = undefined
    this.unreadable = false
    this.responseSeen = false
    this.api = undefined
    this.subset = undefined
    this.subsetTooLarge = false
    this.rewriteTo = undefined
    if (this.forged.length > 0) this.forged.length = 0
    this.waiting = undefined
    this.lease = undefined
    this.cancelDeferral?.()
    this.cancelDeferral = undefined
    this.body.release()
    if (this.tokens.count > 0) this.tokens.clear()
    this.pick.tokens = undefined
    this.endpoints = ''
    this.rewritten = undefined
    this.reason = ''
    this.rank = ''
    if (this.told.length > 0) this.told.length = 0
    this.staged = undefined
    this.bodyBytes = -1
    this.readsUsage?.release()
    this.readsUsage = undefined
    this.follower = undefined
    this.owner = undefined
    this.releasesPrompt = false
    this.explained = false
    this.isOperator = false
    this.traced = false
    this.explanation = ''
    this.trace = undefined
    this.counted = undefined
    this.hooked = undefined
  }
}

/** A million tokens of text. */
const MAX_COPIED_BYTES = 4 * 1024 * 1024
const NO_HEADERS = new HeaderView()
