import { createHash } from 'node:crypto'
import type { ApiClient } from './api-client.ts'

const TOKEN_REVIEWS = '/apis/authentication.k8s.io/v1/tokenreviews'
const ACCESS_REVIEWS = '/apis/authorization.k8s.io/v1/subjectaccessreviews'
/** How long an answer counts. */
const KEPT_MS = 10_000
/** Answers of either kind: strangers choose the tokens. */
const MAX_KEPT = 1000
/** A longer token is nobody's. */
const MAX_TOKEN_LENGTH = 16 * 1024
/** Callers about whom the API server is asked at a time; so many more of those that it has let in before. */
const MAX_UNDER_WAY = 16
const MAX_RENEWALS = 4
const TIMEOUT_MS = 10_000

/** What the API server says of a caller: 200 = may, 401 = nobody that it knows, 403 = may not, 503 = it could not be asked, or is asked about too many. */
export type AccessStatus = 200 | 401 | 403 | 503

interface TokenReview {
  readonly status?: {
    readonly authenticated?: boolean
    readonly user?: {
      readonly username?: string
      readonly uid?: string
      readonly groups?: readonly string[]
      readonly extra?: Readonly<Record<string, readonly string[]>>
    }
  }
}

interface Kept {
  readonly status: AccessStatus
  readonly until: number
}

interface AccessReview {
  readonly status?: { readonly allowed?: boolean; readonly denied?: boolean }
}

/**
 * Asks the API server whether the bearer of a token may `get` a path that is no resource, as kube-rbac-proxy and
 * controller-runtime do (TokenReview, SubjectAccessReview). Answers are kept for a few seconds. Strangers neither have many questions asked at a time, nor push out what is
 * known of those who may.
 */
export class AccessReviewer {
  readonly #client: Pick<ApiClient, 'postJson'>
  readonly #now: () => number
  // Least recently used first.
  readonly #allowed = new Map<string, Kept>()
  readonly #refused = new Map<string, Kept>()
  readonly #underWay = new Map<string, Promise<AccessStatus>>()

  constructor(client: Pick<ApiClient, 'postJson'>, now: () => number = () => performance.now()) {
    this.#client = client
    this.#now = now
  }

  /** @param authorization the request's header */
  async review(authorization: string | undefined, path: string): Promise<AccessStatus> {
    const token = /^Bearer +([^\s]+)$/i.exec(authorization ?? '')?.[1]
    if (token === undefined || token.length > MAX_TOKEN_LENGTH) return 401
    // No token stays in memory.
    const key = `${createHash('sha256').update(token).digest('base64')} ${path}`
    const known = this.#recall(this.#allowed, key) ?? this.#recall(this.#refused, key)
    if (known !== undefined) return known
    const asked = this.#underWay.get(key)
    if (asked !== undefined) return await asked
    const most = this.#allowed.has(key) ? MAX_UNDER_WAY + MAX_RENEWALS : MAX_UNDER_WAY
    if (this.#underWay.size >= most) return 503
    const status = this.#learn(token, path, key)
    this.#underWay.set(key, status)
    return await status
  }

  /** What is known; an answer that counts no longer tells at least that the caller is no stranger. */
  #recall(answers: Map<string, Kept>, key: string): AccessStatus | undefined {
    const kept = answers.get(key)
    if (kept === undefined || kept.until <= this.#now()) return undefined
    answers.delete(key)
    answers.set(key, kept)
    return kept.status
  }

  async #learn(token: string, path: string, key: string): Promise<AccessStatus> {
    const status = await this.#ask(token, path).catch((): AccessStatus => 503)
    this.#underWay.delete(key)
    // That it could not be asked is no answer.
    if (status === 503) return status
    const [answers, others] = status === 200 ? [this.#allowed, this.#refused] : [this.#refused, this.#allowed]
    others.delete(key)
    answers.delete(key)
    answers.set(key, { status, until: this.#now() + KEPT_MS })
    if (answers.size > MAX_KEPT) answers.delete(answers.keys().next().value!)
    return status
  }

  async #ask(token: string, path: string): Promise<AccessStatus> {
    const signal = AbortSignal.timeout(TIMEOUT_MS)
    const tokenReview = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', spec: { token } }
    const { status } = (await this.#client.postJson(TOKEN_REVIEWS, tokenReview, signal)) as TokenReview
    if (status?.authenticated !== true || status.user === undefined) return 401
    const { username, uid, groups, extra } = status.user
    const accessReview = {
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SubjectAccessReview',
      spec: { user: username, uid, groups, extra, nonResourceAttributes: { path, verb: 'get' } },
    }
    const answer = (await this.#client.postJson(ACCESS_REVIEWS, accessReview, signal)) as AccessReview
    return answer.status?.allowed === true && answer.status.denied !== true ? 200 : 403
  }
}
