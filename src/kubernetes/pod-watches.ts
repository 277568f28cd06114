import type { InferencePool } from '../config/kinds/inference-pool.ts'
import { compareText } from '../config/problem.ts'

/** Which pods are followed: those of one namespace that have these labels, or all of it. */
export interface PodWatch {
  readonly namespace: string
  readonly labelSelector?: string
}

/** A namespace whose pools have more selectors than this is followed whole: a watch costs both sides a connection. */
const MAX_SELECTORS = 4

/** The watches that bring the pods of all these pools, by a key that stays the same while the watch does. */
export function podWatches(pools: readonly InferencePool[]): ReadonlyMap<string, PodWatch> {
  const selectors = new Map<string, Set<string>>()
  for (const { metadata, spec } of pools) {
    const ofNamespace = selectors.get(metadata.namespace) ?? new Set()
    selectors.set(metadata.namespace, ofNamespace.add(selectorText(spec.selector.matchLabels)))
  }
  const watches = new Map<string, PodWatch>()
  for (const [namespace, texts] of selectors) {
    if (texts.size > MAX_SELECTORS) watches.set(namespace, { namespace })
    else for (const text of texts) watches.set(`${namespace}?${text}`, { namespace, labelSelector: text })
  }
  return watches
}

function selectorText(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .sort(compareText)
    .join(',')
}
