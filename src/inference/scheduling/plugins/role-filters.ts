import { object } from '../../../config/kinds/common.ts'
import { LabelFilter } from './label-filter.ts'
import { type FilterType, filterType } from './plugin-type.ts'

const ROLE = 'llm-d.ai/role'

/** Keep endpoints by their label `llm-d.ai/role`; one without it decodes (epp.md §3.2). */
export const encodeFilter = roleFilter('encode-filter', ['encode', 'encode-prefill', 'encode-prefill-decode'])
export const prefillFilter = roleFilter('prefill-filter', [
  'prefill',
  'encode-prefill',
  'prefill-decode',
  'both',
  'encode-prefill-decode',
])
export const decodeFilter = roleFilter('decode-filter', [
  'decode',
  'prefill-decode',
  'both',
  'encode-prefill-decode',
  undefined,
])

function roleFilter(type: string, roles: readonly (string | undefined)[]): FilterType {
  return filterType(type, object({}), () => new LabelFilter(type, labels => roles.includes(labels[ROLE])))
}
