import { DEFAULT_SCORERS } from '../../../src/inference/scheduling/scorers/registry.ts'
import type { ContenderKind } from './contender.ts'
import { LLM_D_DEFAULT } from './llm-d-default.ts'
import { LEAST_REQUEST, RANDOM, ROUND_ROBIN } from './plain-contenders.ts'
import { signalbox } from './signalbox-contender.ts'

export const OURS = signalbox('expected-ttft', 'expected TTFT', [{ type: 'expected-ttft-scorer', weight: 1 }])

/** In the order of the report; ours last. */
export const CONTENDERS: readonly ContenderKind[] = [
  RANDOM,
  ROUND_ROBIN,
  LEAST_REQUEST,
  LLM_D_DEFAULT,
  signalbox('weighted', 'weighted scorers', DEFAULT_SCORERS),
  OURS,
]
