/**
 * The client's cap of the answer's tokens, of what a scanner of `CAPPED_PROGRAM` has seen of a body. A key that comes twice is no cap: which
 * of them counts is the engine's choice (Python's parsers take the last, others the first), and a client must not be counted for the other.
 */
import { FieldType } from '../body/json-fields.ts'
import type { JsonScanner } from '../body/json-scan.ts'
import { OUTPUT_CAP_FIELDS, type OutputCapField, outputCap } from '../llm/output-caps.ts'
import { FIRST_CAP } from './body-program.ts'

/** `fields`: where it may stand; the first with a cap counts. Undefined: there is none, as far as the body was read. */
export function readOutputCap(json: JsonScanner, fields: readonly OutputCapField[]): number | undefined {
  for (let f = 0; f < fields.length; f++) {
    const field = numberOf(fields[f]!)
    if (json.repeated(field)) return undefined
    const cap = capIn(json, field)
    if (cap !== undefined) return cap
  }
  return undefined
}

/** What follows in the body cannot change it: a field that was there once may come again. */
export function isOutputCapFinal(json: JsonScanner, fields: readonly OutputCapField[]): boolean {
  return fields.length === 0 || json.repeated(numberOf(fields[0]!))
}

function numberOf(field: OutputCapField): number {
  return FIRST_CAP + OUTPUT_CAP_FIELDS.indexOf(field)
}

function capIn(json: JsonScanner, field: number): number | undefined {
  return json.complete(field) && json.type(field) === FieldType.NUMBER ? outputCap(json.text(field)) : undefined
}
