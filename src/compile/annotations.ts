import type { InferencePool } from '../config/kinds/inference-pool.ts'
import type { ConfigObject } from '../config/kinds/registry.ts'
import { problemAt } from '../config/object.ts'
import type { Problem } from '../config/problem.ts'
import { parseQuantity } from '../config/quantity.ts'
import { didYouMean } from '../config/suggest.ts'
import type { ObjectIndex } from './object-index.ts'

/** Annotation of an HTTPRoute: `whole` makes the model final only at the end of the body (a second `model` is then refused). */
export const MODEL_FACT = 'signalbox.dev/model-fact'
/** Annotation of an HTTPRoute: `full-duplex` has the body held and echoed instead of looked at. */
export const BODY_MODE = 'signalbox.dev/body'
/** Annotation of an InferencePool; `Forward` sends models that no endpoint lists to some endpoint instead of answering 404. */
export const UNKNOWN_MODELS = 'signalbox.dev/unknown-models'

/** Annotation of an InferencePool: the name of an EndpointPickerConfig in its namespace. */
export const PICKER_CONFIG = 'signalbox.dev/endpoint-picker-config'

/** Annotation of an InferencePool: `Headers` asks replicas for their load with each response, in its headers or trailers. */
const LOAD_REPORTS = 'signalbox.dev/load-reports'

/** Annotations of an InferencePool: requests on their way at once (429 beyond), and bytes of bodies held for it (503 beyond). */
export const MAX_IN_FLIGHT = 'signalbox.dev/max-in-flight'
export const MAX_HELD_BYTES = 'signalbox.dev/max-held-bytes'

const PREFIX = 'signalbox.dev/'

interface Annotation {
  readonly kind: ConfigObject['kind']
  /** Where they are known; the first is the default. */
  readonly values?: readonly string[]
  /** Of those that are quantities (`500`, `64Mi`). */
  readonly atLeast?: number
}

const ANNOTATIONS: Readonly<Record<string, Annotation>> = {
  [MODEL_FACT]: { kind: 'HTTPRoute', values: ['first', 'whole'] },
  [BODY_MODE]: { kind: 'HTTPRoute', values: ['look', 'full-duplex'] },
  [UNKNOWN_MODELS]: { kind: 'InferencePool', values: ['Reject', 'Forward'] },
  [LOAD_REPORTS]: { kind: 'InferencePool', values: ['Off', 'Headers'] },
  [PICKER_CONFIG]: { kind: 'InferencePool' },
  [MAX_IN_FLIGHT]: { kind: 'InferencePool', atLeast: 1 },
  [MAX_HELD_BYTES]: { kind: 'InferencePool', atLeast: 1 },
}

/** Replicas of the pool are asked for their load with each response. */
export function reportsLoad({ metadata }: InferencePool): boolean {
  return metadata.annotations[LOAD_REPORTS] === 'Headers'
}

/** Annotations of ours that would have no effect, or that have a value without a meaning. */
export function checkAnnotations(objects: ObjectIndex, problems: Problem[]): void {
  for (const object of objects.everything()) {
    for (const [name, value] of Object.entries(object.metadata.annotations)) {
      if (!name.startsWith(PREFIX)) continue
      const fault = faultOf(object.kind, name, value)
      if (fault !== undefined)
        problems.push(problemAt(object, 'error', fault.code, ['metadata', 'annotations', name], fault.message))
    }
  }
}

function faultOf(kind: string, name: string, value: string): { code: string; message: string } | undefined {
  const known = Object.hasOwn(ANNOTATIONS, name) ? ANNOTATIONS[name] : undefined
  if (known === undefined) {
    const candidates = Object.keys(ANNOTATIONS)
    return { code: 'unknown-annotation', message: `there is no annotation "${name}"${didYouMean(name, candidates)}` }
  }
  if (known.kind !== kind)
    return { code: 'misplaced-annotation', message: `"${name}" has no effect here: it belongs on a ${known.kind}` }
  if (known.atLeast !== undefined && !((parseQuantity(value) ?? 0) >= known.atLeast))
    return {
      code: 'invalid-value',
      message: `must be a quantity such as 500 or 64Mi, at least ${known.atLeast}, not "${value}"`,
    }
  if (known.values === undefined || known.values.includes(value)) return undefined
  const hint = didYouMean(value, known.values)
  return { code: 'invalid-value', message: `must be ${known.values.join(' or ')}, not "${value}"${hint}` }
}
