import type { KindObject } from '../object.ts'

/**
 * A pod that can serve: ready and not about to go. Only an API server tells of such (the `Pod` of a file is a wish, and is ignored),
 * so there is no schema: the Kubernetes source makes these.
 */
export type Pod = KindObject<
  'Pod',
  {
    /** Its first IP address. */
    readonly address: string
    /** The ports that serve, of those that its pools name. Absent: all. */
    readonly activePorts?: readonly number[]
  }
>
