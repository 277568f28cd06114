import { ShapeChecker } from '../body/shape-checker.ts'
import { invalidField, type OpenAiProblem } from '../llm/openai-error.ts'
import type { RequestApi } from '../llm/request-apis.ts'
import { REQUEST_SHAPES } from '../llm/request-shapes.ts'

/** Checks whether the fields at the beginning of a JSON body have the types of its API. Pooled; off until `begin`. */
export class BodyCheck {
  /** So far the body is to be read at least. */
  minBytes = 0
  #checker: ShapeChecker | undefined
  #api: RequestApi | undefined
  /** Bytes that are still to be checked. */
  #left = 0

  /**
   * In the first `maxBytes` of the next body fields are checked, as far as it is read: to its end, or to `minBytes` of it at least.
   * For an API with a shape.
   */
  begin(api: RequestApi, maxBytes: number, minBytes: number): void {
    this.#api = api
    this.#left = maxBytes
    this.minBytes = minBytes
    this.#checker ??= new ShapeChecker(REQUEST_SHAPES)
    this.#checker.begin(api.shape!)
  }

  /** The next body is not checked. */
  clear(): void {
    this.#api = undefined
    this.minBytes = 0
  }

  /** The next bytes of JSON that is well-formed so far. Returns what is wrong with a field. */
  feed(bytes: Uint8Array, start: number, end: number): OpenAiProblem | undefined {
    if (this.#api === undefined || this.#left <= 0) return undefined
    const fault = this.#checker!.feed(bytes, start, Math.min(end, start + this.#left))
    this.#left -= end - start
    return fault === undefined ? undefined : invalidField(this.#api.name, fault.path, fault.must)
  }
}
