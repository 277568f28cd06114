/** Which fields of a JSON body `BodyFacts` looks for, and by which numbers it knows them. */
import { compileScan, type Wanted } from '../body/json-program.ts'
import { OUTPUT_CAP_FIELDS } from '../llm/output-caps.ts'
import type { RequestField } from '../llm/request-apis.ts'

export const MODEL = 0
export const ROOT = 4
export const CACHE_SALT = 5
export const TEXT = 7
const FIELDS: readonly Wanted[] = [
  { path: ['model'], kind: 'text' },
  // Prompts of chat, completions, and embeddings or responses.
  { path: ['messages'], kind: 'stream' },
  { path: ['prompt'], kind: 'stream' },
  { path: ['input'], kind: 'stream' },
  { path: [], kind: 'span' },
  { path: ['cache_salt'], kind: 'text' },
  // Prompts of the engines' own APIs.
  { path: ['token_ids'], kind: 'stream' },
  { path: ['text'], kind: 'stream' },
  { path: ['input_ids'], kind: 'stream' },
]
export const REQUEST_FIELDS: Readonly<Record<RequestField, number>> = { messages: 1, prompt: 2, input: 3 }

export const PROGRAM = compileScan(FIELDS)

/** The first of `OUTPUT_CAP_FIELDS`, in their order. */
export const FIRST_CAP = FIELDS.length
/** With these, for pools that go by them: each field that is looked for costs every body something. */
export const CAPPED_PROGRAM = compileScan([
  ...FIELDS,
  ...OUTPUT_CAP_FIELDS.map((field): Wanted => ({ path: field.split('.'), kind: 'text' })),
])
