import { z } from 'zod'
import { headerName as headerNameSchema, object } from '../../../config/kinds/common.ts'
import { headerName as headerKey } from '../../../extproc/header-view.ts'
import { scorerType } from './plugin-type.ts'

const parameters = object({ headerName: headerNameSchema, labelKey: z.string().min(1) })

/** 1 where the label has the value of the request's header, else 0 (epp.md §3.3). */
export const headerLabelAffinityScorer = scorerType('header-label-affinity-scorer', parameters, given => {
  const header = headerKey(given.headerName)
  let values: (string | undefined)[] = []
  return {
    type: 'header-label-affinity-scorer',
    adopt(table) {
      values = Array.from({ length: table.capacity }, (_, slot) => table.labels(slot)?.[given.labelKey])
    },
    score({ count, slots, headers }, _table, out) {
      const wanted = headers?.common(header)
      for (let i = 0; i < count; i++) out[i] = wanted !== undefined && values[slots[i]!] === wanted ? 1 : 0
    },
  }
})
