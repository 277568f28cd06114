/**
 * What a request has cost by an expression of the operator's (CEL, https://cel.dev) on the usage that the engine reports: the plug-in
 * `request-attribute-reporter` (epp.md §3.11).
 */
import { celEnv, CelScalar, isCelError, mapType, parse, plan } from '@bufbuild/cel'

/** Part of the plan. */
export interface UsageReportPlan {
  /** Of the dynamic metadata that gets the number, and its key. */
  readonly namespace: string
  readonly name: string
  readonly expression: string
  /** Absent: always. */
  readonly condition?: string
}

/** Tokens of one request; −1: the engine did not say. */
export interface TokenCounts {
  readonly input: number
  readonly output: number
  readonly cached: number
  readonly total: number
}

export interface UsageReport {
  readonly namespace: string
  readonly name: string
  /** A whole number; undefined: nothing is to be told. Costs about 2 µs. */
  readonly of: (usage: TokenCounts) => number | undefined
}

type UsageMap = ReadonlyMap<string, number | ReadonlyMap<string, number>>
type Program = (usage: UsageMap) => unknown

const ENV = celEnv({ variables: { usage: mapType(CelScalar.STRING, CelScalar.DYN) } })
/** Has all that there may be, and no number twice. */
const SAMPLE: TokenCounts = { input: 7, output: 5, cached: 3, total: 12 }

/** What is wrong with an expression; undefined: nothing. */
export function expressionProblem(text: string, result: 'number' | 'boolean'): string | undefined {
  let value: unknown
  try {
    value = compile(text)(asMap(SAMPLE))
  } catch (error) {
    return `is no CEL: ${error instanceof Error ? error.message : String(error)}`
  }
  if (isCelError(value)) return `does not work: ${value.message} (numbers of tokens are doubles: say 2.0, not 2)`
  const type = typeof value === 'bigint' ? 'number' : typeof value
  return type === result ? undefined : `must be a ${result}`
}

/** @throws Error for what is no CEL */
export function createUsageReport({ namespace, name, expression, condition }: UsageReportPlan): UsageReport {
  const value = compile(expression)
  const applies = condition === undefined ? undefined : compile(condition)
  return {
    namespace,
    name,
    of: counts => {
      const usage = asMap(counts)
      if (applies !== undefined && applies(usage) !== true) return undefined
      const result = value(usage)
      const number = typeof result === 'bigint' || typeof result === 'number' ? Math.trunc(Number(result)) : 0
      return Number.isFinite(number) && number !== 0 ? number : undefined
    },
  }
}

function compile(text: string): Program {
  const program = plan(ENV, parse(text))
  return usage => program({ usage })
}

/** As llm-d's expressions see it: numbers of tokens are doubles, 0 where the engine did not say. */
function asMap({ input, output, cached, total }: TokenCounts): UsageMap {
  const usage = new Map<string, number | ReadonlyMap<string, number>>([
    ['prompt_tokens', Math.max(0, input)],
    ['completion_tokens', Math.max(0, output)],
    ['total_tokens', Math.max(0, total)],
  ])
  return cached < 0 ? usage : usage.set('prompt_tokens_details', new Map([['cached_tokens', cached]]))
}
