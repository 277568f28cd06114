import { z } from 'zod'
import { object } from '../../../config/kinds/common.ts'
import { headerName } from '../../../extproc/header-view.ts'
import { SubsetHint } from '../../subset-hint.ts'
import { filterType } from './plugin-type.ts'

const HEADER = headerName('test-epp-endpoint-selection')

/**
 * Keeps the endpoints that the header `test-epp-endpoint-selection` lists, each by IP or exactly by `ip:port`; without the header,
 * none (all with `onMissing: Keep`, an addition of ours). For conformance tests (epp.md §3.2).
 */
export const headerBasedTestingFilter = filterType(
  'header-based-testing-filter',
  object({ onMissing: z.enum(['Drop', 'Keep']).default('Drop') }),
  ({ onMissing }) => {
    const listed = new SubsetHint()
    return {
      type: 'header-based-testing-filter',
      adopt: table => listed.update(table),
      filter({ count, slots, headers }, table, kept) {
        const value = headers?.joined(HEADER)
        if (value === undefined && onMissing === 'Keep') {
          kept.fill(1, 0, count)
          return
        }
        listed.mark(value === undefined ? [] : value.split(','), table)
        for (let i = 0; i < count; i++) kept[i] = listed.has(slots[i]!) ? 1 : 0
      },
    }
  },
)
