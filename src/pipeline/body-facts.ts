import { FieldType } from '../body/json-fields.ts'
import { JsonScanner, ScanState } from '../body/json-scan.ts'
import { MultipartField } from '../body/multipart.ts'
import { ShapeChecker } from '../body/shape-checker.ts'
import type { OutputCapField } from '../llm/output-caps.ts'
import type { GrpcApi, RequestApi, RequiredField } from '../llm/request-apis.ts'
import { REQUEST_SHAPES } from '../llm/request-shapes.ts'
import { MediaScanner } from '../llm/media-scanner.ts'
import { MediaFolder } from '../inference/media-folder.ts'
import { MediaHasher } from '../inference/media-hasher.ts'
import { MediaHashes } from '../inference/media-hashes.ts'
import type { MediaTokensPlan } from '../inference/media-tokens.ts'
import { TokenIds } from '../inference/kv-events/token-ids.ts'
import type { PrefixHasher } from '../inference/prefix-hasher.ts'
import {
  duplicateKey,
  incompleteJson,
  invalidField,
  invalidGrpc,
  invalidJson,
  invalidMultipart,
  invalidModel,
  type OpenAiProblem,
} from '../llm/openai-error.ts'
import { CACHE_SALT, CAPPED_PROGRAM, MODEL, PROGRAM, REQUEST_FIELDS, ROOT, TEXT } from './body-program.ts'
import { GrpcBody } from './grpc-body.ts'
import { isOutputCapFinal, readOutputCap } from './output-cap-reader.ts'
import type { ModelFact } from './plan.ts'
import { TokenIdScanner } from './token-id-scanner.ts'

/**
 * Reads the facts of a request body as its bytes pass: the model, and the hashes of the prompt's beginning. Nothing of the body
 * is kept. One a call, pooled.
 */

/** Which reader a body gets. */
export const BodyKind = { NONE: 0, JSON: 1, MULTIPART: 2, GRPC: 3 } as const
export type BodyKind = (typeof BodyKind)[keyof typeof BodyKind]

/** Raw bytes of a prompt that may be an empty one. */
const EMPTY_BYTES = 32
/** Of a prompt that is token ids. */
const MAX_TOKENS = 2 * 1024 * 1024
const EMPTY_PROMPTS: ReadonlySet<string> = new Set(['""', '[]', '[""]'])
/**
 * A chunk is scanned in slices until the facts are final, so that a large chunk costs no more than it must: small ones while the
 * prompt is hashed, larger ones when only the scanner is at work, which is ten times as fast.
 */
const HASHED_SLICE_BYTES = 4 * 1024
const SLICE_BYTES = 32 * 1024
/** As everybody estimates. */
const MEDIA_TOKEN_BYTES = 4
/** Scratch: tokens of an image. */
const PLACEHOLDERS = Buffer.alloc(1024)
/** A client's cap of its answer often stands after the prompt: for its sake a body is read so far. */
const CAPPED_BODY_BYTES = 1024 * 1024

export class BodyFacts {
  /** The model as text; undefined when the body has none, an empty one, or one that is no scalar. */
  model: string | undefined
  /** Absolute offsets of the model's raw value, that of an empty one or null included; −1 = none. */
  modelStart = -1
  modelEnd = -1
  /** Offset of the `{` of a JSON body without a model, where one can be put in; −1 = nowhere. */
  objectStart = -1
  /** That object has no key at all. */
  objectIsEmpty = false
  /** `cache_salt` of the body; empty: none was seen. */
  salt = ''
  /** What is wrong with the body. */
  problem: OpenAiProblem | undefined
  /** Bytes of the prompt seen: of the first field that is one. What is folded (`mediaTokens`) has four for each token. */
  promptBytes = 0
  /** Images and videos count by their tokens, and not by their text; to be said before `begin`. Undefined: they don't. */
  mediaTokens: MediaTokensPlan | undefined
  /** Those of each video. */
  videoTokens = 0
  /** Prompts that are token ids are wanted; to be said before `begin`. */
  wantsTokens = false
  /** Hashes of images, videos and audios are wanted; to be said before `begin`. */
  wantsMediaHashes = false
  /** The client's cap of the answer is wanted, and may stand in these fields; the first that has one counts. To be said before `begin`. */
  capFields: readonly OutputCapField[] | undefined

  readonly hasher: PrefixHasher
  readonly #plain = new JsonScanner(PROGRAM)
  #capped: JsonScanner | undefined
  /** One of these two. */
  #json = this.#plain
  readonly #multipart = new MultipartField()
  readonly #media = new MediaScanner()
  readonly #mediaHashes = new MediaHashes()
  readonly #mediaHasher = new MediaHasher(this.#mediaHashes)
  #folder: MediaFolder | undefined
  readonly #tokens = new TokenIds()
  readonly #tokenIds = new TokenIdScanner(this.#tokens, MAX_TOKENS)
  #checker: ShapeChecker | undefined
  #checked: RequestApi | undefined
  /** Bytes that are still to be checked. */
  #unchecked = 0
  #minBytes = 0
  #grpc: GrpcBody | undefined
  #grpcApi: GrpcApi | undefined
  #grpcCap: number | undefined
  #wantsMedia = false
  #kind: BodyKind = BodyKind.NONE
  #fact: ModelFact = 'none'
  #prefixBytes = 0
  #final = false
  /** The prompt's field; −1 = none yet. Of several the first counts, or the hash would depend on how the body was split. */
  #promptField = -1
  /** The JSON was read to its end. */
  #whole = false
  readonly #promptHead = Buffer.alloc(EMPTY_BYTES)

  constructor(hasher: PrefixHasher) {
    this.hasher = hasher
    this.#plain.sink = (field, chunk, start, end) => this.#prompt(field, chunk, start, end)
  }

  /**
   * In the first `maxBytes` of the next body the types of fields are checked too, as far as it is read: to its end, or to `minBytes` of it
   * at least. To be said before `begin`, of an API with a shape.
   */
  checkFields(api: RequestApi, maxBytes: number, minBytes: number): void {
    this.#checked = api
    this.#unchecked = maxBytes
    this.#minBytes = minBytes
    this.#checker ??= new ShapeChecker(REQUEST_SHAPES)
    this.#checker.begin(api.shape!)
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
    this.#prefixBytes = prefixBytes
    this.#wantsMedia = media
    this.#media.reset()
    if (this.wantsMediaHashes) this.#mediaHasher.reset()
    if (this.mediaTokens !== undefined) this.#beginFolding(this.mediaTokens)
    if (this.wantsTokens) this.#tokenIds.reset()
    this.#final = false
    this.hasher.reset(prefixBlockBytes, prefixBytes)
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

  /** The prompt has images, video or audio, as far as it was read for them. */
  get hasMedia(): boolean {
    return this.#readsJson && this.#media.found
  }

  /** Of those that were read. */
  get mediaHashes(): MediaHashes | undefined {
    return this.wantsMediaHashes && this.#mediaHashes.count > 0 ? this.#mediaHashes : undefined
  }

  /** The prompt's tokens, where it is token ids and all of it was read; undefined: it is not. */
  get tokenIds(): TokenIds | undefined {
    if (!this.wantsTokens) return undefined
    if (this.#grpcApi === 'vllm') return this.#whole && this.#tokens.count > 0 ? this.#tokens : undefined
    return this.#readsJson && this.#tokenIds.complete ? this.#tokens : undefined
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
    return whole ? this.promptBytes : Math.max(this.promptBytes, bodyBytes)
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
    return this.#promptField === field && this.#isEmptyPrompt() ? list : undefined
  }

  get #readsJson(): boolean {
    return this.#kind === BodyKind.JSON || this.#grpcApi === 'vertex'
  }

  #isEmptyPrompt(): boolean {
    if (this.promptBytes > EMPTY_BYTES || !this.#json.complete(this.#promptField)) return false
    return EMPTY_PROMPTS.has(this.#promptHead.toString('latin1', 0, this.promptBytes).replaceAll(/\s/g, ''))
  }

  /** Forgets the body of an earlier request. */
  clear(): void {
    this.#kind = BodyKind.NONE
    this.#grpcApi = undefined
    this.#checked = undefined
    this.#minBytes = 0
    this.#final = false
    this.#wantsMedia = false
    if (this.wantsTokens) this.#tokenIds.reset()
    this.wantsTokens = false
    if (this.wantsMediaHashes) this.#mediaHasher.reset()
    this.wantsMediaHashes = false
    this.mediaTokens = undefined
    this.capFields = undefined
    this.#forget()
  }

  #forget(): void {
    this.model = undefined
    this.modelStart = -1
    this.modelEnd = -1
    this.objectStart = -1
    this.objectIsEmpty = false
    this.salt = ''
    this.problem = undefined
    this.#whole = false
    this.#grpcCap = undefined
    this.promptBytes = 0
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
      if (this.#checked !== undefined && this.#unchecked > 0) {
        const fault = this.#checker!.feed(bytes, start, Math.min(until, start + this.#unchecked))
        this.#unchecked -= until - start
        if (fault !== undefined) return this.#fail(invalidField(this.#checked.name, fault.path, fault.must))
      }
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
    if (this.#fact === 'whole' || this.#json.offset < this.#minBytes) return false
    return this.#modelIsFinal() && this.#promptIsFinal() && this.#capIsFinal()
  }

  #cappedScanner(): JsonScanner {
    const json = new JsonScanner(CAPPED_PROGRAM)
    json.sink = (field, chunk, start, end) => this.#prompt(field, chunk, start, end)
    return json
  }

  #takeWhole(): void {
    this.#whole = true
    this.#takeJson()
  }

  #beginGrpc(api: GrpcApi): void {
    this.#json.reset()
    if (this.wantsTokens) this.#tokens.clear()
    this.#grpc ??= new GrpcBody({
      json: (bytes, start, end) => void (this.#final || this.#feedJson(bytes, start, end)),
      prompt: (bytes, start, end) => {
        this.#promptField = REQUEST_FIELDS.input
        this.#takePrompt(bytes, start, end)
      },
      token: id => {
        if (this.wantsTokens && this.#tokens.count < MAX_TOKENS) this.#tokens.push(id)
      },
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
      if (this.wantsTokens) this.#tokens.endPrompt()
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
    const enough = this.#prefixBytes === 0 || this.promptBytes >= this.#prefixBytes
    const wantsAll = this.wantsMediaHashes || this.mediaTokens !== undefined
    if (enough && (!this.#wantsMedia || this.#media.found) && !wantsAll) return true
    return this.#promptField >= 0 && this.#json.complete(this.#promptField)
  }

  #prompt(field: number, chunk: Uint8Array, start: number, end: number): void {
    if (this.#promptField < 0) {
      const type = this.#json.type(field)
      // `text` of the Responses API is an object that says how the answer is to look.
      const object = type === FieldType.OBJECT && field !== TEXT
      if (type !== FieldType.STRING && type !== FieldType.ARRAY && !object) return
      this.#promptField = field
    }
    if (field !== this.#promptField) return
    this.#takePrompt(chunk, start, end)
  }

  #takePrompt(chunk: Uint8Array, start: number, end: number): void {
    if (this.mediaTokens !== undefined && this.#grpcApi !== 'vllm') this.#folder!.feed(chunk, start, end)
    else this.#takeText(chunk, start, end)
    if (this.#wantsMedia && this.#grpcApi !== 'vllm') this.#media.feed(chunk, start, end)
    if (this.wantsTokens && this.#grpcApi !== 'vllm') this.#tokenIds.feed(chunk, start, end)
    if (this.wantsMediaHashes) this.#mediaHasher.feed(chunk, start, end)
  }

  #takeText(chunk: Uint8Array, start: number, end: number): void {
    // Of a longer prompt nobody asks whether it is empty.
    if (this.promptBytes + end - start <= EMPTY_BYTES)
      for (let i = start; i < end; i++) this.#promptHead[this.promptBytes + i - start] = chunk[i]!
    const wanted = Math.min(end - start, this.#prefixBytes - this.promptBytes)
    if (wanted > 0) this.hasher.update(chunk, start, start + wanted)
    this.promptBytes += end - start
  }

  #beginFolding(plan: MediaTokensPlan): void {
    this.#folder ??= new MediaFolder({
      text: (chunk, start, end) => this.#takeText(chunk, start, end),
      media: (hash, tokens) => this.#takeMedia(hash, tokens),
    })
    this.#folder.reset(plan, this.videoTokens)
  }

  /** Its hash stands there as often as it has tokens. */
  #takeMedia(hash: number, tokens: number): void {
    const bytes = tokens * MEDIA_TOKEN_BYTES
    let wanted = Math.min(bytes, this.#prefixBytes - this.promptBytes)
    if (wanted > 0) {
      for (let at = 0; at < PLACEHOLDERS.length; at += MEDIA_TOKEN_BYTES) PLACEHOLDERS.writeInt32LE(hash, at)
      for (; wanted > 0; wanted -= PLACEHOLDERS.length)
        this.hasher.update(PLACEHOLDERS, 0, Math.min(wanted, PLACEHOLDERS.length))
    }
    this.promptBytes += bytes
  }

  #takeJson(): void {
    if (this.#json.complete(CACHE_SALT)) this.salt = this.#json.text(CACHE_SALT)
    // Where nobody asked for the model, whether it has been seen depends on how the body was split.
    if (this.#fact === 'none') return
    const json = this.#json
    if (this.#fact === 'whole' && json.repeated(MODEL)) return void this.#fail(duplicateKey('model'))
    const type = json.type(MODEL)
    if (this.#kind === BodyKind.GRPC) {
      // Nothing in it can be replaced.
    } else if (type === FieldType.ABSENT && json.type(ROOT) === FieldType.OBJECT) {
      this.objectStart = json.start(ROOT)
      this.objectIsEmpty = json.emptyRoot
    } else if (type === FieldType.NULL && json.complete(MODEL)) {
      this.modelStart = json.start(MODEL)
      this.modelEnd = json.end(MODEL)
    }
    if (!json.complete(MODEL) || type === FieldType.NULL || type === FieldType.OBJECT || type === FieldType.ARRAY)
      return
    if (json.tooLong(MODEL)) return void this.#fail(invalidModel())
    this.#setModel(json.text(MODEL), json.start(MODEL), json.end(MODEL))
    if (this.#kind === BodyKind.GRPC) this.modelStart = -1
  }

  #takeMultipart(): void {
    const field = this.#multipart
    if (this.#fact === 'whole' && field.count > 1) return void this.#fail(duplicateKey('model'))
    if (!field.complete) return
    if (field.tooLong || !field.isUtf8) return void this.#fail(invalidModel())
    this.#setModel(field.text, field.start, field.end)
  }

  #setModel(text: string, start: number, end: number): void {
    this.modelStart = start
    this.modelEnd = end
    if (text === '') return
    if (!isModelName(text)) return void this.#fail(invalidModel())
    this.model = text
  }

  #fail(problem: OpenAiProblem): true {
    this.problem = problem
    this.#final = true
    return true
  }
}

/** The value becomes a header: what no header may hold is no model name either, nor is half a character. */
function isModelName(text: string): boolean {
  let surrogates = false
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code < 0x20 || code === 0x7f) return false
    if (code >= 0xd800 && code <= 0xdfff) surrogates = true
  }
  return !surrogates || text.isWellFormed()
}
