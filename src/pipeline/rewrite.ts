import type { RewritePlan } from '../inference/pool-plan.ts'

/**
 * The model that a pool's rewrites put in place of `model` (InferenceModelRewrite: an exact match beats the generic rule, which
 * also supplies a model for bodies without one); undefined when none applies. `random` in [0, 1) chooses by weight.
 */
export function rewriteModel(
  rewrites: readonly RewritePlan[],
  model: string | undefined,
  random: number,
): string | undefined {
  if (rewrites.length === 0) return undefined
  const rewrite =
    rewrites.find(each => each.model !== undefined && each.model === model) ??
    rewrites.find(each => each.model === undefined)
  if (rewrite === undefined) return undefined
  const total = rewrite.targets.reduce((sum, target) => sum + target.weight, 0)
  let left = random * total
  for (const target of rewrite.targets) {
    left -= target.weight
    if (left < 0) return target.model
  }
  return undefined
}
