import { object } from '../../../config/kinds/common.ts'
import { LabelFilter } from './label-filter.ts'
import { type FilterType, filterType } from './plugin-type.ts'

const ROLE = 'llm-d.ai/role'
/** What llm-d says these are, in metrics and records; their names tell them apart (epp.md §2.2). */
const REPORTED_TYPE = 'by-label'

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
  return filterType(type, object({}), () => new LabelFilter(REPORTED_TYPE, labels => roles.includes(labels[ROLE])))
}
