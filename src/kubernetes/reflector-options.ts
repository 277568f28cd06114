import type { ApiClient } from './api-client.ts'

/** What a reflector keeps of an object. */
export interface Kept<T> {
  readonly value: T
  /** Equal texts: nothing changed that matters (an object's status is written all the time). */
  readonly fingerprint: string
}

/** Numbers of all reflectors of one resource, also of those that were stopped. They only rise. */
export interface ReflectorCounts {
  /** Whole lists read. */
  lists: number
  /** Lists after the first, because the server had forgotten where we were. */
  relists: number
  /** Events of watches, bookmarks not counted. */
  events: number
  /** Failed requests and broken watches. */
  errors: number
}

/**
 * `starting`: nothing known yet; `watching`; `absent`: the server doesn't know this resource (no CRD); `forbidden`: no permission;
 * `failing`: out of reach. In all of them the store keeps what was known, and the reflector goes on trying.
 */
export type ReflectorState = 'starting' | 'watching' | 'absent' | 'forbidden' | 'failing'

export interface ReflectorTiming {
  readonly firstRetryMs: number
  readonly lastRetryMs: number
  /** Between two looks for a resource that isn't there, or that we may not read. */
  readonly absentMs: number
  /** A watch that brings nothing, not even a bookmark, for so long is begun again where it was: its connection may be dead. */
  readonly silenceMs: number
  /** A list that takes longer is given up. */
  readonly listMs: number
  /** How long a watch is asked for; up to twice that. */
  readonly watchMs: number
}

export const REFLECTOR_TIMING: ReflectorTiming = {
  firstRetryMs: 500,
  lastRetryMs: 10_000,
  absentMs: 10_000,
  silenceMs: 150_000,
  listMs: 60_000,
  watchMs: 300_000,
}

export interface ReflectorOptions<T> {
  readonly client: ApiClient
  /** `/api/v1/namespaces/x/pods` */
  readonly path: string
  readonly labelSelector?: string
  /** What to keep of an object; undefined: nothing. Must not throw. */
  readonly convert: (object: unknown) => Kept<T> | undefined
  /** The store changed, or the reflector has settled. */
  readonly onChange: () => void
  /** `error`: why, for `absent`, `forbidden` and `failing`; called for every failed attempt. */
  readonly onState: (state: ReflectorState, error: Error | undefined) => void
  readonly counts: ReflectorCounts
  readonly timing?: ReflectorTiming
}
