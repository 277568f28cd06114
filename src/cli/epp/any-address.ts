import { once } from 'node:events'
import { createServer } from 'node:net'

/** Where to listen to be reached on every address of this machine: `::` takes IPv4 too, where there is IPv6 at all. */
export async function anyAddress(): Promise<'::' | '0.0.0.0'> {
  const server = createServer()
  try {
    await once(server.listen({ host: '::', port: 0 }), 'listening')
    return '::'
  } catch {
    return '0.0.0.0'
  } finally {
    server.close()
  }
}
