import { FieldType } from '../body/json-fields.ts'
import { compileScan } from '../body/json-program.ts'
import { JsonScanner, ScanState } from '../body/json-scan.ts'
import { MultipartField } from '../body/multipart.ts'
import type { PrefixHasher } from '../inference/prefix-hasher.ts'
import {
  duplicateKey,
  incompleteJson,
  invalidJson,
  invalidMultipart,
  invalidModel,
  type OpenAiProblem,
} from '../llm/openai-error.ts'
import type { ModelFact } from './plan.ts'

/**
 * Reads the facts of a request body as its bytes pass: the model, and the hashes of the prompt's beginning. Nothing of the body
 * is kept. One a call, pooled.
 */

/** Which reader a body gets. */
export const BodyKind = { NONE: 0, JSON: 1, MULTIPART: 2 } as const
export type BodyKind = (typeof BodyKind)[keyof typeof BodyKind]

const MODEL = 0
/** Prompts of chat, completions, and embeddings or responses. */
const PROMPTS = [1, 2, 3] as const
const PROGRAM = compileScan([
  { path: ['model'], kind: 'text' },
  { path: ['messages'], kind: 'stream' },
  { path: ['prompt'], kind: 'stream' },
  { path: ['input'], kind: 'stream' },
])
/** A chunk is scanned in slices of this size until the facts are final, so that a large chunk costs no more than it must. */
const SLICE_BYTES = 4096

export class BodyFacts {
  /** The model as text; undefined when the body has none, an empty one, or one that is no scalar. */
  model: string | undefined
  /** Absolute offsets of the model's raw value; −1 = none. */
  modelStart = -1
  modelEnd = -1
  /** What is wrong with the body. */
  problem: OpenAiProblem | undefined
  /** Bytes of the prompt seen. */
  promptBytes = 0

  readonly hasher: PrefixHasher
  readonly #json = new JsonScanner(PROGRAM)
  readonly #multipart = new MultipartField()
  #kind: BodyKind = BodyKind.NONE
  #fact: ModelFact = 'none'
  #prefixBytes = 0
  #final = false

  constructor(hasher: PrefixHasher) {
    this.hasher = hasher
    this.#json.sink = (_wanted, chunk, start, end) => this.#prompt(chunk, start, end)
  }

  /** Starts a body. `prefixBytes` 0 = no prompt wanted. `contentType` only matters for multipart (its boundary). */
  begin(kind: BodyKind, fact: ModelFact, prefixBytes: number, prefixBlockBytes: number, contentType: string): void {
    this.model = undefined
    this.modelStart = -1
    this.modelEnd = -1
    this.problem = undefined
    this.promptBytes = 0
    this.#kind = kind
    this.#fact = fact
    this.#prefixBytes = prefixBytes
    this.#final = false
    this.hasher.reset(prefixBlockBytes, prefixBytes)
    if (kind === BodyKind.JSON) this.#json.reset()
    else if (kind === BodyKind.MULTIPART && !this.#multipart.begin(contentType, 'model')) this.#fail(invalidMultipart())
  }

  /** A body was begun; false: headers decide, and what the last request left here means nothing. */
  get hasBody(): boolean {
    return this.#kind !== BodyKind.NONE
  }

  /** The model's offsets are those of a JSON value. */
  get isJson(): boolean {
    return this.#kind === BodyKind.JSON
  }

  /** Forgets the body of an earlier request. */
  clear(): void {
    this.#kind = BodyKind.NONE
    this.problem = undefined
  }

  /** Takes a piece; true when the facts are final. */
  feed(bytes: Uint8Array, start: number, end: number): boolean {
    if (this.#final) return true
    return this.#kind === BodyKind.JSON ? this.#feedJson(bytes, start, end) : this.#feedMultipart(bytes, start, end)
  }

  /** The body is over: what is known now is final. */
  end(): void {
    if (this.#final) return
    this.#final = true
    if (this.#kind === BodyKind.JSON) {
      if (this.#json.offset === 0) return
      if (this.#json.finish() === ScanState.DONE) this.#takeJson()
      else this.#fail(incompleteJson())
    } else if (this.#kind === BodyKind.MULTIPART) {
      if (this.#multipart.finish() === ScanState.INVALID) this.#fail(invalidMultipart())
      else this.#takeMultipart()
    }
  }

  #feedJson(bytes: Uint8Array, start: number, end: number): boolean {
    const json = this.#json
    while (start < end) {
      const until = Math.min(end, start + SLICE_BYTES)
      const state = json.feed(bytes, start, until)
      start = until
      if (state === ScanState.INVALID) return this.#fail(invalidJson(json.error?.offset ?? json.offset))
      if (state === ScanState.DONE || (this.#fact !== 'whole' && json.complete(MODEL) && this.#promptIsFinal())) {
        this.#takeJson()
        this.#final = true
        return true
      }
    }
    return false
  }

  #feedMultipart(bytes: Uint8Array, start: number, end: number): boolean {
    const state = this.#multipart.feed(bytes, start, end)
    if (state === ScanState.INVALID) return this.#fail(invalidMultipart())
    if (state === ScanState.MORE && (this.#fact === 'whole' || !this.#multipart.complete)) return false
    this.#takeMultipart()
    this.#final = true
    return true
  }

  /** The prompt's beginning is known: enough bytes of it, or all of one of its fields. */
  #promptIsFinal(): boolean {
    if (this.#prefixBytes === 0 || this.promptBytes >= this.#prefixBytes) return true
    for (const field of PROMPTS) if (this.#json.complete(field)) return true
    return false
  }

  #prompt(chunk: Uint8Array, start: number, end: number): void {
    const wanted = Math.min(end - start, this.#prefixBytes - this.promptBytes)
    if (wanted > 0) this.hasher.update(chunk, start, start + wanted)
    this.promptBytes += end - start
  }

  #takeJson(): void {
    const json = this.#json
    if (this.#fact === 'whole' && json.repeated(MODEL)) return void this.#fail(duplicateKey('model'))
    const type = json.type(MODEL)
    if (!json.complete(MODEL) || type === FieldType.NULL || type === FieldType.OBJECT || type === FieldType.ARRAY)
      return
    if (json.tooLong(MODEL)) return void this.#fail(invalidModel())
    this.#setModel(json.text(MODEL), json.start(MODEL), json.end(MODEL))
  }

  #takeMultipart(): void {
    const field = this.#multipart
    if (this.#fact === 'whole' && field.count > 1) return void this.#fail(duplicateKey('model'))
    if (!field.complete) return
    if (field.tooLong) return void this.#fail(invalidModel())
    this.#setModel(field.text, field.start, field.end)
  }

  #setModel(text: string, start: number, end: number): void {
    if (text === '') return
    // The value becomes a header: what no header may hold is no model name either.
    if (CONTROL.test(text)) return void this.#fail(invalidModel())
    this.model = text
    this.modelStart = start
    this.modelEnd = end
  }

  #fail(problem: OpenAiProblem): true {
    this.problem = problem
    this.#final = true
    return true
  }
}

// oxlint-disable-next-line no-control-regex -- exactly those
const CONTROL = /[\u0000-\u001f\u007f]/
