import { type GrpcFields, GrpcScanner } from '../body/grpc-scan.ts'
import { ScanState } from '../body/scan-state.ts'
import type { GrpcApi } from './request-apis.ts'
import { Usage } from './usage.ts'
import { UsageReader } from './usage-reader.ts'

const JSON_BODY = 0
const INPUT = 1
const OUTPUT = 2
const CACHED = 3
const number = (id: number) => ({ is: 'number', id }) as const

/** By API: the messages' fields (epp.md §3.12). */
const RESPONSES: Readonly<Record<GrpcApi, GrpcFields>> = {
  // google.api.HttpBody
  vertex: { 2: { is: 'bytes', id: JSON_BODY } },
  vllm: {
    // GenerateStreamChunk
    1: { 2: number(INPUT), 3: number(OUTPUT), 4: number(CACHED) },
    // GenerateComplete
    2: { 3: number(INPUT), 4: number(OUTPUT), 5: number(CACHED) },
  },
}
/** EmbedResponse: its first field are numbers of another kind. */
const EMBEDDED: GrpcFields = { 2: number(INPUT) }

/** Reads the usage of a gRPC response as its bytes pass. As `UsageReader`; of several messages the last that tells any counts. */
export class GrpcUsageReader {
  readonly usage = new Usage()
  readonly #scanner: GrpcScanner
  readonly #json = new UsageReader()
  #over = false
  /** How the JSON comes: whole in each message, or as events that go on from message to message. Known from its first byte. */
  #form: 'unknown' | 'whole' | 'events' = 'unknown'
  #input = -1
  #output = -1
  #cached = -1

  constructor() {
    this.#scanner = new GrpcScanner({
      bytes: (_id, bytes, start, end) => this.#feedJson(bytes, start, end),
      number: (id, value) => {
        if (id === INPUT) this.#input = value
        else if (id === OUTPUT) this.#output = value
        else this.#cached = value
      },
      message: () => this.#endMessage(),
    })
  }

  begin(api: GrpcApi, embeds: boolean): void {
    this.usage.clear()
    this.#over = false
    this.#form = 'unknown'
    this.#input = -1
    this.#output = -1
    this.#cached = -1
    this.#scanner.begin(embeds ? EMBEDDED : RESPONSES[api])
  }

  feed(bytes: Uint8Array, start: number, end: number): void {
    if (!this.#over) this.#over = this.#scanner.feed(bytes, start, end) === ScanState.INVALID
  }

  /** Gives back what it holds; it reads nothing until it begins again. */
  release(): void {
    this.#over = true
    this.#json.release()
  }

  /** The response is over. */
  end(): void {
    if (this.#form === 'events') this.#endJson()
  }

  #feedJson(bytes: Uint8Array, start: number, end: number): void {
    if (this.#form === 'unknown') {
      this.#form = bytes[start] === 0x7b ? 'whole' : 'events'
      this.#json.begin(this.#form === 'events')
    }
    this.#json.feed(bytes, start, end)
  }

  #endMessage(): void {
    if (this.#form === 'whole') {
      this.#endJson()
      this.#form = 'unknown'
    }
    // What is 0 is not on the wire.
    if (this.#input > 0 || this.#output > 0)
      this.usage.set(Math.max(0, this.#input), Math.max(0, this.#output), this.#cached)
    this.#input = -1
    this.#output = -1
    this.#cached = -1
  }

  #endJson(): void {
    this.#json.end()
    const { usage } = this.#json
    if (usage.known) this.usage.copy(usage)
  }
}
