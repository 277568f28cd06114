import type { ContenderKind } from './contender.ts'
import { LLM_D_DEFAULT } from './llm-d-default.ts'
import { LEAST_REQUEST, RANDOM, ROUND_ROBIN } from './plain-contenders.ts'
import { signalbox } from './signalbox-contender.ts'

export const OURS = signalbox('signalbox', 'Signalbox')
export const OURS_ON_TWO_THREADS = signalbox('signalbox-2', 'on two threads', { threads: 2 })
export const OURS_AS_THREE = signalbox('signalbox-3', 'three replicas', { processes: 3, telling: true })
export const OURS_AS_THREE_ALONE = signalbox('signalbox-3-alone', 'three, not telling', { processes: 3 })

/** Those that are not Signalbox. */
export const THEIRS: readonly ContenderKind[] = [RANDOM, ROUND_ROBIN, LEAST_REQUEST, LLM_D_DEFAULT]

/** In the order of the report; ours last. */
export const CONTENDERS: readonly ContenderKind[] = [
  ...THEIRS,
  OURS_ON_TWO_THREADS,
  OURS_AS_THREE_ALONE,
  OURS_AS_THREE,
  OURS,
]
