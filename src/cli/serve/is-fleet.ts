import type { ServeOptions } from './options.ts'

/** Whether we configure data planes. */
export function isFleet({ xds, embedded }: Pick<ServeOptions, 'xds' | 'embedded'>): boolean {
  return xds !== undefined || embedded
}
