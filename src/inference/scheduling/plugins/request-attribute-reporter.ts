import { z } from 'zod'
import { object } from '../../../config/kinds/common.ts'
import { expressionProblem } from '../../usage-report.ts'
import type { SettingType } from './plugin-type.ts'

const LB = 'envoy.lb'
const MAX_EXPRESSION = 4096

const expression = (result: 'number' | 'boolean') =>
  z
    .string()
    .min(1)
    .max(MAX_EXPRESSION)
    .superRefine((text, context) => {
      const problem = expressionProblem(text, result)
      if (problem !== undefined) context.addIssue({ code: 'custom', message: problem })
    })

const attribute = object({
  key: object({
    namespace: z
      .string()
      .default(LB)
      .transform(text => (text === '' ? LB : text)),
    name: z.string().min(1),
  }),
  expression: expression('number'),
  condition: expression('boolean').optional(),
})

export const reporterParameters = object({
  attributes: z.array(attribute).length(1, 'must have exactly one entry'),
})

/** Tells the gateway what a request has cost, as dynamic metadata with the end of its response (../../usage-report.ts). */
export const requestAttributeReporter: SettingType = {
  type: 'request-attribute-reporter',
  role: 'response-body',
  parameters: reporterParameters,
}
