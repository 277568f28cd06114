/** Reads the answer of an OpenAI-compatible `GET /v1/models`; vLLM lists base models and loaded LoRA adapters there. */

export interface ServedModel {
  readonly id: string
  /** Base model of an adapter; absent for base models. */
  readonly parent?: string
}

const MAX_MODELS = 10_000
const MAX_ID_LENGTH = 512

/** Undefined when the body is no list of models. Entries without a usable id are skipped. */
export function parseModelList(body: Buffer): readonly ServedModel[] | undefined {
  let parsed: unknown
  try {
    parsed = JSON.parse(body.toString('utf8'))
  } catch {
    return undefined
  }
  if (typeof parsed !== 'object' || parsed === null || !('data' in parsed) || !Array.isArray(parsed.data))
    return undefined
  const models: ServedModel[] = []
  for (const entry of parsed.data.slice(0, MAX_MODELS) as unknown[]) {
    if (typeof entry !== 'object' || entry === null || !('id' in entry) || !isName(entry.id)) continue
    const parent = 'parent' in entry && isName(entry.parent) && entry.parent !== entry.id ? entry.parent : undefined
    models.push(parent === undefined ? { id: entry.id } : { id: entry.id, parent })
  }
  return models
}

function isName(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value.length <= MAX_ID_LENGTH
}
