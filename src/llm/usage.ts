/** Tokens of one request as the engine counts them, from any of the APIs' shapes (epp.md §8.4), 2^24 at most. −1: it did not say. */
import { FieldType } from '../body/json-fields.ts'
import type { Wanted } from '../body/json-program.ts'
import type { JsonScanner } from '../body/json-scan.ts'

/** Where an object of usage may lie: by itself, in `response` (Responses API), or in `message` (Anthropic's first event). */
const ROOTS = [[], ['response'], ['message']] as const
const INPUT = ['prompt_tokens', 'input_tokens'] as const
const OUTPUT = ['completion_tokens', 'output_tokens'] as const
const CACHED = [
  ['prompt_tokens_details', 'cached_tokens'],
  ['input_tokens_details', 'cached_tokens'],
  ['cache_read_input_tokens'],
] as const

const LEAVES: readonly (readonly string[])[] = [
  ...INPUT.map(name => [name]),
  ...OUTPUT.map(name => [name]),
  ['total_tokens'],
  ...CACHED,
]
const OUTPUT_AT = INPUT.length
const TOTAL_AT = OUTPUT_AT + OUTPUT.length
const CACHED_AT = TOTAL_AT + 1

/** Nobody's response has more; an engine that says so shall not spoil what is counted by tokens. */
const MAX_TOKENS = 2 ** 24

/** What a scan has to look for, in this order, from index `first` of its list on: see `Usage.take`. */
export const USAGE_FIELDS: readonly Wanted[] = ROOTS.flatMap(root =>
  LEAVES.map(leaf => ({ path: [...root, 'usage', ...leaf], kind: 'text' as const })),
)

export class Usage {
  input = -1
  output = -1
  cached = -1
  #total = -1

  clear(): void {
    this.input = -1
    this.output = -1
    this.cached = -1
    this.#total = -1
  }

  /** All that there is to know. */
  set(input: number, output: number, cached: number): void {
    this.clear()
    this.input = Math.min(input, MAX_TOKENS)
    this.output = Math.min(output, MAX_TOKENS)
    this.cached = Math.min(cached, MAX_TOKENS)
  }

  copy(other: Usage): void {
    this.set(other.input, other.output, other.cached)
    this.#total = other.#total
  }

  get known(): boolean {
    return this.input >= 0 || this.output >= 0 || this.#total >= 0
  }

  /** As the engine says, or the sum. */
  get total(): number {
    if (this.#total >= 0 || !this.known) return this.#total
    return Math.max(0, this.input) + Math.max(0, this.output)
  }

  /** Takes over what a complete scan has found; what it has not found stays, so that the events of a stream add up. */
  take(json: JsonScanner, first: number): void {
    for (let root = 0; root < ROOTS.length; root++) {
      const at = first + root * LEAVES.length
      for (let leaf = 0; leaf < LEAVES.length; leaf++) {
        if (json.type(at + leaf) !== FieldType.NUMBER) continue
        const said = Number(json.text(at + leaf))
        if (!Number.isSafeInteger(said) || said < 0) continue
        const tokens = Math.min(said, MAX_TOKENS)
        if (leaf < OUTPUT_AT) this.input = tokens
        else if (leaf < TOTAL_AT) this.output = tokens
        else if (leaf < CACHED_AT) this.#total = tokens
        else this.cached = tokens
      }
    }
  }
}
