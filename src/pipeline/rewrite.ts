import { jsonString, type Replacement } from '../body/splice.ts'
import type { RewritePlan } from '../inference/pool-plan.ts'
import type { BodyFacts } from './body-facts.ts'
import type { BodyModel } from './body-model.ts'

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
  const rewrite = rewriteOf(rewrites, model)
  if (rewrite === undefined) return undefined
  const total = rewrite.targets.reduce((sum, target) => sum + target.weight, 0)
  let left = random * total
  for (const target of rewrite.targets) {
    left -= target.weight
    if (left < 0) return target.model
  }
  return undefined
}

/** The one that applies to requests for `model`. */
export function rewriteOf(rewrites: readonly RewritePlan[], model: string | undefined): RewritePlan | undefined {
  return (
    rewrites.find(each => each.model !== undefined && each.model === model) ??
    rewrites.find(each => each.model === undefined)
  )
}

/** Every model that it names. */
export function modelsOf({ model, targets }: RewritePlan): string[] {
  return [...(model === undefined ? [] : [model]), ...targets.map(target => target.model)]
}

/** The body has a model (an empty one and null count), or is an object that can get one. */
export function canPutModel({ start, objectStart }: BodyModel): boolean {
  return start >= 0 || objectStart >= 0
}

/** The edit that puts `model` into the body: in the place of its own, or as the first key. */
export function putModel({ model: own, isJson }: BodyFacts, model: string): Replacement {
  const bytes = isJson ? jsonString(model) : Buffer.from(model)
  if (own.start >= 0) return { start: own.start, end: own.end, bytes }
  const start = own.objectStart
  // The brace is replaced too: an edit of no width could fall between two chunks.
  return {
    start,
    end: start + 1,
    bytes: Buffer.concat([Buffer.from('{"model":'), bytes, Buffer.from(own.objectIsEmpty ? '' : ',')]),
  }
}
