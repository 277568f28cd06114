/** How many tokens a client lets an answer have at most, and where its request says so (llm-d's `MaxOutputTokens`, epp.md §8.3). */

/** Where a request may say it; a dot leads into an object. */
export type OutputCapField =
  | 'max_completion_tokens'
  | 'max_tokens'
  | 'max_output_tokens'
  | 'sampling_params.max_tokens'
  | 'sampling_params.max_new_tokens'

/** Of an API that is not known, in the order in which they count: no API has more than two of them. */
export const OUTPUT_CAP_FIELDS: readonly OutputCapField[] = [
  'max_completion_tokens',
  'max_tokens',
  'max_output_tokens',
  'sampling_params.max_tokens',
  'sampling_params.max_new_tokens',
]

/** The cap that a JSON number is; undefined: it is none, as any that is negative or has a fraction. 0 is one. */
export function outputCap(number: string): number | undefined {
  if (number === '') return undefined
  const cap = Number(number)
  return cap >= 0 && Number.isInteger(cap) ? cap : undefined
}
