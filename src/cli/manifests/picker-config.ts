import { readFileSync } from 'node:fs'
import { readTexts } from '../../config/object-set.ts'
import { formatProblem } from '../../config/problem.ts'
import { UsageError } from '../command.ts'
import { explainSystemError } from '../system-error.ts'
import type { Manifest, Mount } from './manifest.ts'
import type { ManifestValues } from './values.ts'

const FOLDER = '/etc/signalbox/picker'
const FILE = 'picker.yaml'

/** The text of a file with an EndpointPickerConfig in it (and what else `signalbox epp --config-file` takes). @throws UsageError */
export function readPickerConfig(path: string): string {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    throw new UsageError(`--picker-config: ${explainSystemError((error as Error).message)}`)
  }
  const { items, errors } = readTexts([{ file: path, text }])
  if (errors.length > 0) throw new UsageError(`--picker-config:\n${errors.map(formatProblem).join('\n')}`)
  const found = items.flatMap(item => (item.kind === 'EndpointPickerConfig' ? [item.metadata.name] : []))
  if (found.length === 0) throw new UsageError(`--picker-config: ${path} has no EndpointPickerConfig`)
  if (!found.includes('default'))
    throw new UsageError(`--picker-config: ${path} has none that is for every pool: leave out its metadata`)
  return text
}

export function pickerConfigArgs({ pickerConfig }: ManifestValues): string[] {
  return pickerConfig === undefined ? [] : ['--config-file', `${FOLDER}/${FILE}`]
}

/** A change of the ConfigMap arrives in the folder, and is followed there. */
export function pickerConfigMounts(values: ManifestValues): Mount[] {
  if (values.pickerConfig === undefined) return []
  return [{ name: 'picker-config', path: FOLDER, source: { configMap: { name: configMapName(values) } } }]
}

export function pickerConfigMaps(values: ManifestValues, labels: Readonly<Record<string, string>>): Manifest[] {
  const { namespace, pickerConfig } = values
  if (pickerConfig === undefined) return []
  const metadata = { name: configMapName(values), namespace, labels }
  return [{ apiVersion: 'v1', kind: 'ConfigMap', metadata, data: { [FILE]: pickerConfig } }]
}

function configMapName({ name }: ManifestValues): string {
  return `${name}-config`
}
