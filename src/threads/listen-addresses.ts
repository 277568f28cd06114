/** Where the threads of a data path listen. */
import { once } from 'node:events'
import { createServer } from 'node:net'
import type { ListenAddress } from './messages.ts'

export type ListenAt = { readonly host: string; readonly port: number } | { readonly path: string }

export interface ThreadListen {
  readonly shared: ListenAddress | undefined
  readonly own: ListenAddress | undefined
}

/**
 * One thread listens where it is told. Several share that port; where data planes are told of each thread (`ownAddresses`), thread i, counted
 * from 1, has port + i besides, or any free one when the port is 0. Unix sockets can't be shared: PATH, PATH.1, PATH.2, …
 */
export function listenAddresses(listen: ListenAt, count: number, ownAddresses: boolean): ThreadListen[] {
  return Array.from({ length: count }, (_, i) => {
    if ('path' in listen) return { shared: undefined, own: { path: i === 0 ? listen.path : `${listen.path}.${i}` } }
    if (count === 1) return { shared: undefined, own: listen }
    const { host, port } = listen
    return {
      shared: { host, port, reusePort: true },
      own: ownAddresses ? { host, port: port === 0 ? 0 : port + 1 + i } : undefined,
    }
  })
}

/** Rejects when somebody listens on the port. */
export async function claimPort({ host, port }: { readonly host: string; readonly port: number }): Promise<void> {
  const server = createServer().listen({ host, port, exclusive: true })
  await once(server, 'listening')
  server.close()
  await once(server, 'close')
}
