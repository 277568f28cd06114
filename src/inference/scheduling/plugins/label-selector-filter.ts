import { z } from 'zod'
import { labels, object } from '../../../config/kinds/common.ts'
import type { EndpointTable } from '../../endpoint-table.ts'
import { LabelFilter } from './label-filter.ts'
import { filterType } from './plugin-type.ts'

type Labels = NonNullable<ReturnType<EndpointTable['labels']>>

const key = z.string().min(1)
const values = z.array(z.string()).min(1)
const expression = z.discriminatedUnion('operator', [
  object({ key, operator: z.literal('In'), values }),
  object({ key, operator: z.literal('NotIn'), values }),
  object({ key, operator: z.literal('Exists') }),
  object({ key, operator: z.literal('DoesNotExist') }),
])

const parameters = object({ matchLabels: labels.default({}), matchExpressions: z.array(expression).default([]) })
type Parameters = z.output<typeof parameters>

/** Keeps endpoints whose labels a Kubernetes label selector selects (epp.md §3.2). */
export const labelSelectorFilter = filterType(
  'label-selector-filter',
  parameters,
  given => new LabelFilter('label-selector-filter', found => selects(given, found)),
)

function selects({ matchLabels, matchExpressions }: Parameters, found: Labels): boolean {
  return (
    Object.entries(matchLabels).every(([key, value]) => found[key] === value) &&
    matchExpressions.every(each => {
      const value = found[each.key]
      switch (each.operator) {
        case 'In':
          return value !== undefined && each.values.includes(value)
        case 'NotIn':
          return value === undefined || !each.values.includes(value)
        case 'Exists':
          return value !== undefined
        default:
          return value === undefined
      }
    })
  )
}
