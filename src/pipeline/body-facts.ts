import { FieldType } from '../body/json-fields.ts'
import { JsonScanner, ScanState } from '../body/json-scan.ts'
import { MultipartField } from '../body/multipart.ts'
import type { OutputCapField } from '../llm/output-caps.ts'
import type { GrpcApi, RequiredField } from '../llm/request-apis.ts'
import type { PrefixHasher } from '../inference/prefix-hasher.ts'
import { incompleteJson, invalidGrpc, invalidJson, invalidMultipart, type OpenAiProblem } from '../llm/openai-error.ts'
import { BodyCheck } from './body-check.ts'
import { BodyKind } from './body-kind.ts'
import { BodyModel } from './body-model.ts'
import { CACHE_SALT, CAPPED_PROGRAM, MODEL, PROGRAM, REQUEST_FIELDS, TEXT } from './body-program.ts'
import { BodyPrompt } from './body-prompt.ts'
import { GrpcBody } from './grpc-body.ts'
import { isOutputCapFinal, readOutputCap } from './output-cap-reader.ts'
import type { ModelFact } from './plan.ts'

/**
 * A chunk is scanned in slices until the facts are final, so that a large chunk costs no more than it must: small ones while the
 * prompt is hashed, larger ones when only the scanner is at work, which is ten times as fast.
 */
const HASHED_SLICE_BYTES = 4 * 1024
const SLICE_BYTES = 32 * 1024
/** A client's cap of its answer often stands after the prompt: for its sake a body is read so far. */
const CAPPED_BODY_BYTES = 1024 * 1024

/**
 * Reads the facts of a request body as its bytes pass: the model, and the hashes of the prompt's beginning. Nothing of the body
 * is kept. One a call, pooled.
 */
export class BodyFacts {
  readonly model = new BodyModel()
  /** Of several fields that are one, the first: or the hash would depend on how the body was split. */
  readonly prompt: BodyPrompt
  /** Of a kind that is JSON; to be said before `begin`. */
  readonly check = new BodyCheck()
  /** `cache_salt` of the body; empty: none was seen. */
  salt = ''
  /** What is wrong with the body. */
  problem: OpenAiProblem | undefined
  /** The client's cap of the answer is wanted, and may stand in these fields; the first that has one counts. To be said before `begin`. */
  capFields: readonly OutputCapField[] | undefined

  readonly #plain = new JsonScanner(PROGRAM)
  #capped: JsonScanner | undefined
  /** One of these two. */
  #json = this.#plain
  readonly #multipart = new MultipartField()
  #grpc: GrpcBody | undefined
  #grpcApi: GrpcApi | undefined
  #grpcCap: number | undefined
  #kind: BodyKind = BodyKind.NONE
  #fact: ModelFact = 'none'
  #final = false
  /** The prompt's; −1 = none yet. */
  #promptField = -1
  /** The JSON was read to its end. */
  #whole = false

  constructor(hasher: PrefixHasher) {
    this.prompt = new BodyPrompt(hasher)
    this.#plain.sink = (field, chunk, start, end) => this.#feedPrompt(field, chunk, start, end)
  }

  /**
   * Starts a body. `prefixBytes` 0 = no prompt wanted. `contentType` only matters for multipart (its boundary). `media`: whether the prompt
   * has images, video or audio is wanted; then it is read to its end, or to the first. `grpcApi`: of kind GRPC.
   */
  begin(
    kind: BodyKind,
    fact: ModelFact,
    prefixBytes: number,
    prefixBlockBytes: number,
    contentType: string,
    media = false,
    grpcApi?: GrpcApi,
  ): void {
    this.#forget()
    this.#json = this.capFields === undefined ? this.#plain : (this.#capped ??= this.#cappedScanner())
    this.#grpcApi = grpcApi
    this.#kind = kind
    this.#fact = fact
    this.#final = false
    this.prompt.begin(prefixBytes, prefixBlockBytes, media)
    if (kind === BodyKind.JSON) this.#json.reset()
    else if (kind === BodyKind.GRPC) this.#beginGrpc(grpcApi!)
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

  /** Tokens that the client lets the answer have at most; 0 is a cap. Undefined: none was seen, or nobody asked (`capFields`). */
  get outputCap(): number | undefined {
    if (this.capFields === undefined) return undefined
    if (this.#grpcApi === 'vllm') return this.#whole ? this.#grpcCap : undefined
    return this.#readsJson ? readOutputCap(this.#json, this.capFields) : undefined
  }

  /** Bytes of the whole prompt: where only its beginning was read, by the length of the body (−1 = unknown). */
  promptSize(bodyBytes: number): number {
    const whole = this.#promptField < 0 || this.#json.complete(this.#promptField)
    return whole ? this.prompt.bytes : Math.max(this.prompt.bytes, bodyBytes)
  }

  /** What is wrong with a field that the body must have, as far as the body was read; undefined: nothing. */
  lacks({ name, form }: RequiredField): string | undefined {
    if (this.#grpcApi === 'vllm') return this.#whole && this.#promptField < 0 ? 'there' : undefined
    const json = this.#json
    const field = REQUEST_FIELDS[name]
    const type = this.#readsJson ? json.type(field) : FieldType.ABSENT
    if (type === FieldType.ABSENT) return this.#whole || json.offset === 0 ? 'there' : undefined
    if (form === 'any') return type === FieldType.NULL ? 'there' : undefined
    const list = form === 'list' ? 'a list with elements' : 'a text or a list that is not empty'
    if (type !== FieldType.ARRAY && (form === 'list' || type !== FieldType.STRING)) return list
    return this.#promptField === field && json.complete(field) && this.prompt.isEmpty ? list : undefined
  }

  get #readsJson(): boolean {
    return this.#kind === BodyKind.JSON || this.#grpcApi === 'vertex'
  }

  /** Forgets the body of an earlier request. */
  clear(): void {
    this.#kind = BodyKind.NONE
    this.#grpcApi = undefined
    this.check.clear()
    this.#final = false
    this.prompt.clear()
    this.capFields = undefined
    this.#forget()
  }

  #forget(): void {
    this.model.clear()
    this.salt = ''
    this.problem = undefined
    this.#whole = false
    this.#grpcCap = undefined
    this.#promptField = -1
  }

  /** Takes a piece; true when the facts are final. */
  feed(bytes: Uint8Array, start: number, end: number): boolean {
    if (this.#final) return true
    if (this.#kind === BodyKind.JSON) return this.#feedJson(bytes, start, end)
    return this.#kind === BodyKind.GRPC ? this.#feedGrpc(bytes, start, end) : this.#feedMultipart(bytes, start, end)
  }

  /** The body is over: what is known now is final. */
  end(): void {
    if (this.#final) return
    this.#final = true
    if (this.#kind === BodyKind.GRPC) this.#fail(invalidGrpc('it is incomplete'))
    else if (this.#kind === BodyKind.JSON) {
      if (this.#json.offset === 0) return
      if (this.#json.finish() === ScanState.DONE) this.#takeWhole()
      else this.#fail(incompleteJson())
    } else if (this.#kind === BodyKind.MULTIPART) {
      if (this.#multipart.finish() === ScanState.INVALID) this.#fail(invalidMultipart())
      else this.#takeMultipart()
    }
  }

  #feedJson(bytes: Uint8Array, start: number, end: number): boolean {
    const json = this.#json
    while (start < end) {
      const until = Math.min(end, start + (this.#promptIsFinal() ? SLICE_BYTES : HASHED_SLICE_BYTES))
      const state = json.feed(bytes, start, until)
      if (state === ScanState.INVALID) return this.#fail(invalidJson(json.error?.offset ?? json.offset))
      const problem = this.check.feed(bytes, start, until)
      if (problem !== undefined) return this.#fail(problem)
      start = until
      if (state === ScanState.DONE || this.#isEnough()) {
        if (state === ScanState.DONE) this.#takeWhole()
        else this.#takeJson()
        this.#final = true
        return true
      }
    }
    return false
  }

  /** Nothing more has to be read of a body that goes on. */
  #isEnough(): boolean {
    if (this.#fact === 'whole' || this.#json.offset < this.check.minBytes) return false
    return this.#modelIsFinal() && this.#promptIsFinal() && this.#capIsFinal()
  }

  #cappedScanner(): JsonScanner {
    const json = new JsonScanner(CAPPED_PROGRAM)
    json.sink = (field, chunk, start, end) => this.#feedPrompt(field, chunk, start, end)
    return json
  }

  #takeWhole(): void {
    this.#whole = true
    this.#takeJson()
  }

  #beginGrpc(api: GrpcApi): void {
    this.#json.reset()
    this.#grpc ??= new GrpcBody({
      json: (bytes, start, end) => void (this.#final || this.#feedJson(bytes, start, end)),
      prompt: (bytes, start, end) => {
        this.#promptField = REQUEST_FIELDS.input
        this.prompt.feedOwn(bytes, start, end)
      },
      token: id => this.prompt.ownToken(id),
      outputCap: cap => {
        this.#grpcCap = cap
      },
      over: () => this.#grpcOver(),
    })
    this.#grpc.begin(api, this.capFields !== undefined && this.capFields.length > 0)
  }

  #feedGrpc(bytes: Uint8Array, start: number, end: number): boolean {
    if (this.#grpc!.feed(bytes, start, end) === ScanState.INVALID && !this.#final)
      this.#fail(invalidGrpc(this.#grpc!.compressed ? 'it is compressed' : 'it is none'))
    return this.#final
  }

  /** There is one message; what comes after it is for the engine to complain of. */
  #grpcOver(): void {
    if (this.#final) return
    this.#final = true
    if (this.#grpcApi === 'vllm') {
      this.#whole = true
      this.prompt.ownOver()
    } else if (this.#json.offset === 0) this.#fail(invalidGrpc('it has no body'))
    else if (this.#json.finish() === ScanState.DONE) this.#takeWhole()
    else this.#fail(incompleteJson())
  }

  #feedMultipart(bytes: Uint8Array, start: number, end: number): boolean {
    const state = this.#multipart.feed(bytes, start, end)
    if (state === ScanState.INVALID) return this.#fail(invalidMultipart())
    if (state === ScanState.MORE && (this.#fact === 'whole' || !this.#multipart.complete)) return false
    this.#takeMultipart()
    this.#final = true
    return true
  }

  #modelIsFinal(): boolean {
    return this.#fact === 'none' || this.#json.complete(MODEL)
  }

  #capIsFinal(): boolean {
    if (this.capFields === undefined || this.#json.offset >= CAPPED_BODY_BYTES) return true
    return isOutputCapFinal(this.#json, this.capFields)
  }

  /** The prompt's beginning is known: enough bytes of it, or all of its field. */
  #promptIsFinal(): boolean {
    if (this.prompt.isEnough) return true
    return this.#promptField >= 0 && this.#json.complete(this.#promptField)
  }

  #feedPrompt(field: number, chunk: Uint8Array, start: number, end: number): void {
    if (this.#promptField < 0) {
      const type = this.#json.type(field)
      // `text` of the Responses API is an object that says how the answer is to look.
      const object = type === FieldType.OBJECT && field !== TEXT
      if (type !== FieldType.STRING && type !== FieldType.ARRAY && !object) return
      this.#promptField = field
    }
    if (field === this.#promptField) this.prompt.feed(chunk, start, end)
  }

  #takeJson(): void {
    if (this.#json.complete(CACHE_SALT)) this.salt = this.#json.text(CACHE_SALT)
    const problem = this.model.takeJson(this.#json, this.#fact, this.#kind === BodyKind.JSON)
    if (problem !== undefined) this.#fail(problem)
  }

  #takeMultipart(): void {
    const problem = this.model.takeMultipart(this.#multipart, this.#fact)
    if (problem !== undefined) this.#fail(problem)
  }

  #fail(problem: OpenAiProblem): true {
    this.problem = problem
    this.#final = true
    return true
  }
}
