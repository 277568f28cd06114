import { createServer } from 'node:net'

/** Below Linux' ephemeral range (32768 and up), so that no outgoing connection or `listen(0)` takes a port in between. */
const FIRST = 20_000
const LAST = 32_000

let next = FIRST + Math.floor(Math.random() * (LAST - FIRST))

/**
 * A port that nobody listens on, for what needs to know its port beforehand (a Gateway's listener, a server that is to come back
 * on the same port). Everything else listens on 0.
 */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < 200; tries++) {
    next = next >= LAST ? FIRST : next + 1
    // Another caller may move it on meanwhile.
    const port = next
    if (await isFree(port)) return port
  }
  throw new Error(`no free port between ${FIRST} and ${LAST}`)
}

/** The first of `count` free ports in a row. */
export async function freePorts(count: number): Promise<number> {
  for (let tries = 0; tries < 200; tries++) {
    const first = await freePort()
    let free = 1
    while (free < count && (await isFree(first + free))) free++
    // The others are not given to anybody else.
    next = first + free
    if (free === count) return first
  }
  throw new Error(`no ${count} free ports in a row`)
}

function isFree(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const server = createServer()
    server.once('error', () => resolve(false))
    // No host = all addresses, IPv4 and IPv6: a listener on 127.0.0.1 alone also counts as taken.
    server.listen({ port, exclusive: true }, () => server.close(() => resolve(true)))
  })
}
