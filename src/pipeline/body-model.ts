import { FieldType } from '../body/json-fields.ts'
import type { JsonScanner } from '../body/json-scan.ts'
import type { MultipartField } from '../body/multipart.ts'
import { duplicateKey, invalidModel, type OpenAiProblem } from '../llm/openai-error.ts'
import { MODEL, ROOT } from './body-program.ts'
import type { ModelFact } from './plan.ts'

/** The model that a body is for, and where in the body it stands or could stand, for who puts another one there. Pooled. */
export class BodyModel {
  /** As text; undefined when the body has none, an empty one, or one that is no scalar. */
  name: string | undefined
  /** Absolute offsets of the raw value, that of an empty one or null included; −1 = none. */
  start = -1
  end = -1
  /** Offset of the `{` of a JSON body without a model, where one can be put in; −1 = nowhere. */
  objectStart = -1
  /** That object has no key at all. */
  objectIsEmpty = false

  clear(): void {
    this.name = undefined
    this.start = -1
    this.end = -1
    this.objectStart = -1
    this.objectIsEmpty = false
  }

  /**
   * Of JSON, as far as it was read. `editable` false: it is part of another body, and nothing in it can be replaced.
   * Returns what is wrong with it.
   */
  takeJson(json: JsonScanner, fact: ModelFact, editable: boolean): OpenAiProblem | undefined {
    // Where nobody asked for the model, whether it has been seen depends on how the body was split.
    if (fact === 'none') return undefined
    if (fact === 'whole' && json.repeated(MODEL)) return duplicateKey('model')
    const type = json.type(MODEL)
    if (!editable) {
      // No offset means anything.
    } else if (type === FieldType.ABSENT && json.type(ROOT) === FieldType.OBJECT) {
      this.objectStart = json.start(ROOT)
      this.objectIsEmpty = json.emptyRoot
    } else if (type === FieldType.NULL && json.complete(MODEL)) {
      this.start = json.start(MODEL)
      this.end = json.end(MODEL)
    }
    if (!json.complete(MODEL) || type === FieldType.NULL || type === FieldType.OBJECT || type === FieldType.ARRAY)
      return undefined
    if (json.tooLong(MODEL)) return invalidModel()
    const start = editable ? json.start(MODEL) : -1
    return this.#set(json.text(MODEL), start, json.end(MODEL))
  }

  /** Of a form. Returns what is wrong with it. */
  takeMultipart(field: MultipartField, fact: ModelFact): OpenAiProblem | undefined {
    if (fact === 'whole' && field.count > 1) return duplicateKey('model')
    if (!field.complete) return undefined
    if (field.tooLong || !field.isUtf8) return invalidModel()
    return this.#set(field.text, field.start, field.end)
  }

  #set(text: string, start: number, end: number): OpenAiProblem | undefined {
    this.start = start
    this.end = end
    if (text === '') return undefined
    if (!isModelName(text)) return invalidModel()
    this.name = text
    return undefined
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
