/** The client's cap of the answer's tokens, of what a scanner of `CAPPED_PROGRAM` has seen of a body. Of a key that comes twice the first counts. */
import { FieldType } from '../body/json-fields.ts'
import type { JsonScanner } from '../body/json-scan.ts'
import { OUTPUT_CAP_FIELDS, type OutputCapField, outputCap } from '../llm/output-caps.ts'
import { FIRST_CAP } from './body-program.ts'

/** `fields`: where it may stand; the first with a cap counts. Undefined: there is none, as far as the body was read. */
export function readOutputCap(json: JsonScanner, fields: readonly OutputCapField[]): number | undefined {
  for (let f = 0; f < fields.length; f++) {
    const cap = capIn(json, numberOf(fields[f]!))
    if (cap !== undefined) return cap
  }
  return undefined
}

/** What follows in the body cannot change it. */
export function isOutputCapFinal(json: JsonScanner, fields: readonly OutputCapField[]): boolean {
  for (let f = 0; f < fields.length; f++) {
    const field = numberOf(fields[f]!)
    if (!json.complete(field)) return false
    if (capIn(json, field) !== undefined) return true
  }
  return true
}

function numberOf(field: OutputCapField): number {
  return FIRST_CAP + OUTPUT_CAP_FIELDS.indexOf(field)
}

function capIn(json: JsonScanner, field: number): number | undefined {
  return json.complete(field) && json.type(field) === FieldType.NUMBER ? outputCap(json.text(field)) : undefined
}
