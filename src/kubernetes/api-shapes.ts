/** What an API server's answers look like. */

interface Metadata {
  readonly name: string
  readonly namespace?: string
  readonly resourceVersion?: string
}

/** A page of a list, as far as it is believed. */
export interface ListAnswer {
  readonly metadata?: { readonly resourceVersion?: string; readonly continue?: string }
  readonly items?: unknown
}

/** A line of a watch. */
export interface WatchEvent {
  readonly type: string
  readonly object: unknown
}

/** Undefined: it is no object of the API. */
export function metadataOf(object: unknown): Metadata | undefined {
  return (object as { readonly metadata?: Metadata } | null | undefined)?.metadata
}

/** Unique in a collection. */
export function keyOf({ namespace, name }: Metadata): string {
  return `${namespace ?? ''}/${name}`
}
