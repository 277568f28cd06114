import { z } from 'zod'
import { object } from '../../../config/kinds/common.ts'
import { BYTES_PER_TOKEN } from '../candidates.ts'
import { NO_NEEDS, type StageDecider } from '../profile-handler.ts'
import type { DeciderType } from './plugin-type.ts'

/** Another replica computes every prompt (epp.md §3.1). */
export const alwaysDisaggPdDecider: DeciderType = {
  type: 'always-disagg-pd-decider',
  role: 'decider',
  parameters: object({}),
  create: () => ({ type: 'always-disagg-pd-decider', needs: NO_NEEDS, disaggregates: () => true }),
}

/** For requests with images, video or audio. */
export const alwaysDisaggMultimodalDecider: DeciderType = {
  type: 'always-disagg-multimodal-decider',
  role: 'decider',
  parameters: object({}),
  create: (): StageDecider => ({
    type: 'always-disagg-multimodal-decider',
    needs: { ...NO_NEEDS, media: true },
    disaggregates: ({ hasMedia }) => hasMedia === true,
  }),
}

const tokens = z.int().min(0).max(16_777_216).default(0)
const prefixBasedParameters = object({
  /** Tokens of the prompt that the decoding replica has not cached, from which on it is worth while. 0 = never. */
  nonCachedTokens: tokens,
  /** Shorter prompts stay whole. */
  promptTokens: tokens,
})

/** Where the replica that decodes would have to compute much of the prompt (epp.md §3.1). Tokens are estimated: four bytes each. */
export const prefixBasedPdDecider: DeciderType = {
  type: 'prefix-based-pd-decider',
  role: 'decider',
  parameters: prefixBasedParameters,
  create: (parameters): StageDecider => {
    const { nonCachedTokens, promptTokens } = prefixBasedParameters.parse(parameters)
    const type = 'prefix-based-pd-decider'
    if (nonCachedTokens === 0) return { type, needs: NO_NEEDS, disaggregates: () => false }
    return {
      type,
      needs: { prefix: true, bytes: Math.max(nonCachedTokens, promptTokens) * BYTES_PER_TOKEN, media: false },
      disaggregates: ({ promptBytes, promptSize = promptBytes }, cachedBytes) => {
        if (Math.ceil(promptSize / BYTES_PER_TOKEN) < promptTokens) return false
        return Math.ceil((promptSize - cachedBytes) / BYTES_PER_TOKEN) >= nonCachedTokens
      },
    }
  },
}
