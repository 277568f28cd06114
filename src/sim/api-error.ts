/** An error as vLLM tells it to its clients: `{"error": {message, type, param, code}}`. */
export class ApiError extends Error {
  override readonly name = 'ApiError'
  readonly status: number
  /** vLLM's name of the kind, such as `BadRequestError`. */
  readonly type: string
  /** The request's field that is to blame. */
  readonly param: string | null

  constructor(status: number, type: string, message: string, param: string | null = null) {
    super(message)
    this.status = status
    this.type = type
    this.param = param
  }

  body(): object {
    return { error: { message: this.message, type: this.type, param: this.param, code: this.status } }
  }
}

export function badRequest(message: string, param: string | null = null): ApiError {
  return new ApiError(400, 'BadRequestError', message, param)
}

export function notFound(message: string, param: string | null = null): ApiError {
  return new ApiError(404, 'NotFoundError', message, param)
}
