import { isMap, parseDocument } from 'yaml'
import { BBR_LABEL } from '../config/kinds/config-map.ts'
import { problemAt } from '../config/object.ts'
import type { Problem } from '../config/problem.ts'
import type { ObjectIndex } from './object-index.ts'

/**
 * The map of the body based router's ConfigMaps: `data.baseModel` is a name, `data.adapters` a YAML list of LoRA adapters of it.
 * A base model maps to itself.
 */
export function readBaseModels(objects: ObjectIndex, problems: Problem[]): Readonly<Record<string, string>> {
  const models = new Map<string, string>()
  for (const map of objects.all('ConfigMap')) {
    if (map.metadata.labels[BBR_LABEL] !== 'true') continue
    const baseModel = map.data['baseModel']?.trim() ?? ''
    const fail = (code: string, field: string, message: string): void => {
      problems.push(problemAt(map, 'error', code, ['data', field], message))
    }
    if (baseModel === '') {
      fail('required', 'baseModel', `a ConfigMap with the label ${BBR_LABEL} needs data.baseModel`)
      continue
    }
    for (const name of [
      baseModel,
      ...readAdapters(map.data['adapters'], message => fail('invalid-value', 'adapters', message)),
    ]) {
      const before = models.get(name)
      if (before === undefined) models.set(name, baseModel)
      else if (before !== baseModel)
        fail('duplicate-adapter', 'adapters', `"${name}" already has the base model "${before}"`)
    }
  }
  return Object.fromEntries([...models].sort(([a], [b]) => (a < b ? -1 : 1)))
}

function readAdapters(text: string | undefined, fail: (message: string) => void): string[] {
  if (text === undefined || text.trim() === '') return []
  const document = parseDocument(text)
  const value: unknown = document.errors.length > 0 || isMap(document.contents) ? undefined : document.toJS()
  if (!Array.isArray(value) || !value.every(item => typeof item === 'string' && item !== '')) {
    fail('must be a YAML list of adapter names')
    return []
  }
  return value
}
