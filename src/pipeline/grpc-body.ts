import { type GrpcFields, GrpcScanner } from '../body/grpc-scan.ts'
import type { ScanState } from '../body/scan-state.ts'
import type { GrpcApi } from '../llm/request-apis.ts'

/** What a gRPC request brings, in the order of its bytes. */
export interface GrpcBodySink {
  /** A piece of the JSON inside. */
  json(bytes: Uint8Array, start: number, end: number): void
  /** A piece of the prompt: text, or token ids of four bytes each. */
  prompt(bytes: Uint8Array, start: number, end: number): void
  token(id: number): void
  /** Tokens that the answer may have at most. */
  outputCap(tokens: number): void
  /** The message is complete. */
  over(): void
}

const JSON_BODY = 0
const TEXT = 1
const TOKEN = 2
const OUTPUT_CAP = 3

/** By API: the messages' fields (epp.md §3.12). */
const REQUESTS: Readonly<Record<GrpcApi, GrpcFields>> = {
  // google.cloud.aiplatform.v1beta1: ChatCompletionsRequest and the RawPredictRequests alike have http_body.data.
  vertex: { 2: { 2: { is: 'bytes', id: JSON_BODY } } },
  // vllm.grpc.engine: GenerateRequest and EmbedRequest have tokenized.input_ids, the former or text.
  vllm: { 2: { 2: { is: 'numbers', id: TOKEN } }, 3: { is: 'bytes', id: TEXT } },
}
/** … and GenerateRequest has sampling_params.max_tokens. */
const CAPPED_VLLM: GrpcFields = { ...REQUESTS.vllm, 4: { 8: { is: 'number', id: OUTPUT_CAP } } }

const TOKEN_BYTES = 4
const STAGE_TOKENS = 256

/** Reads the one message of a gRPC request as its bytes pass. Pooled. */
export class GrpcBody {
  readonly #sink: GrpcBodySink
  readonly #scanner: GrpcScanner
  readonly #stage = Buffer.allocUnsafe(STAGE_TOKENS * TOKEN_BYTES)
  #staged = 0

  constructor(sink: GrpcBodySink) {
    this.#sink = sink
    this.#scanner = new GrpcScanner({
      bytes: (id, bytes, start, end) => (id === TEXT ? sink.prompt(bytes, start, end) : sink.json(bytes, start, end)),
      number: (id, value) => (id === OUTPUT_CAP ? sink.outputCap(value) : this.#token(value)),
      message: () => {
        this.#flush()
        sink.over()
      },
    })
  }

  /** `capped`: the cap of the answer is wanted, where the message itself has it. */
  begin(api: GrpcApi, capped = false): void {
    this.#staged = 0
    this.#scanner.begin(capped && api === 'vllm' ? CAPPED_VLLM : REQUESTS[api])
  }

  get compressed(): boolean {
    return this.#scanner.compressed
  }

  feed(bytes: Uint8Array, start: number, end: number): ScanState {
    return this.#scanner.feed(bytes, start, end)
  }

  #token(token: number): void {
    this.#sink.token(token)
    this.#stage.writeUInt32LE(token % 2 ** 32, this.#staged)
    this.#staged += TOKEN_BYTES
    if (this.#staged === this.#stage.length) this.#flush()
  }

  #flush(): void {
    if (this.#staged > 0) this.#sink.prompt(this.#stage, 0, this.#staged)
    this.#staged = 0
  }
}
