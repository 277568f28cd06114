/** The API server answered, but not with what was asked for. */
export class ApiError extends Error {
  readonly code = 'kubernetes-api'
  /** HTTP status, or the `code` of the Status object that came in a watch. */
  readonly status: number
  /** What the server asks us to wait, from `Retry-After`. */
  readonly retryAfterMs: number | undefined

  constructor(status: number, message: string, retryAfterMs?: number) {
    super(message)
    this.status = status
    this.retryAfterMs = retryAfterMs
  }

  /** The resource version that we go on from is one that the server doesn't have (any more): only a new list helps. */
  get needsList(): boolean {
    // 504 is how "too large resource version" comes, after a restore of etcd; 400 is a version of another store.
    return this.status === 410 || this.status === 504 || this.status === 400
  }
}

/** Why something failed, for the log. What a failed connection says is in its causes. */
export function reasonOf(error: Error): string {
  const { cause, message } = error
  const code = (error as { readonly code?: unknown }).code
  const own = message === '' && typeof code === 'string' ? code : message
  return cause instanceof Error && cause.message !== message ? `${own}: ${reasonOf(cause)}` : own
}
