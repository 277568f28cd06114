import { DEFAULT_SCORERS } from '../../../src/inference/scheduling/scorers/registry.ts'
import type { ContenderKind } from './contender.ts'
import { LLM_D_DEFAULT } from './llm-d-default.ts'
import { LEAST_REQUEST, RANDOM, ROUND_ROBIN } from './plain-contenders.ts'
import { signalbox } from './signalbox-contender.ts'

/** In the order of the report; ours last. */
export const CONTENDERS: readonly ContenderKind[] = [
  RANDOM,
  ROUND_ROBIN,
  LEAST_REQUEST,
  LLM_D_DEFAULT,
  signalbox('ours', 'Signalbox default', DEFAULT_SCORERS),
]
