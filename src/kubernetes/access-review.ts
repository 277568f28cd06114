import { createHash } from 'node:crypto'
import type { ApiClient } from './api-client.ts'

const TOKEN_REVIEWS = '/apis/authentication.k8s.io/v1/tokenreviews'
const ACCESS_REVIEWS = '/apis/authorization.k8s.io/v1/subjectaccessreviews'
/** How long an answer counts. */
const KEPT_MS = 10_000
/** Strangers choose the tokens. */
const MAX_KEPT = 1000
const TIMEOUT_MS = 10_000

/** What the API server says of a caller: 200 = may, 401 = nobody that it knows, 403 = may not, 503 = it could not be asked. */
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

interface AccessReview {
  readonly status?: { readonly allowed?: boolean; readonly denied?: boolean }
}

/**
 * Asks the API server whether the bearer of a token may `get` a path that is no resource, as kube-rbac-proxy and
 * controller-runtime do (TokenReview, SubjectAccessReview). Answers are kept for a few seconds.
 */
export class AccessReviewer {
  readonly #client: Pick<ApiClient, 'postJson'>
  readonly #now: () => number
  readonly #kept = new Map<string, { readonly status: Promise<AccessStatus>; readonly until: number }>()

  constructor(client: Pick<ApiClient, 'postJson'>, now: () => number = () => performance.now()) {
    this.#client = client
    this.#now = now
  }

  /** @param authorization the request's header */
  async review(authorization: string | undefined, path: string): Promise<AccessStatus> {
    const token = /^Bearer +([^\s]+)$/i.exec(authorization ?? '')?.[1]
    if (token === undefined) return 401
    // No token stays in memory.
    const key = `${createHash('sha256').update(token).digest('base64')} ${path}`
    const kept = this.#kept.get(key)
    if (kept !== undefined && kept.until > this.#now()) return await kept.status
    if (this.#kept.size >= MAX_KEPT) this.#kept.clear()
    const status = this.#ask(token, path).catch((): AccessStatus => 503)
    this.#kept.set(key, { status, until: this.#now() + KEPT_MS })
    // That it could not be asked is no answer.
    if ((await status) === 503) this.#kept.delete(key)
    return await status
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
