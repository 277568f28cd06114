/** Ports for a demo that has to know them before anybody listens. */
import { createServer } from 'node:net'

/** Below Linux' ephemeral range, so that no outgoing connection and nobody who takes any port gets one in between. */
const FIRST = 20_000
const LAST = 32_000
const TRIES = 500

/** Whether `count` ports from this one on are free. */
export async function isFreeRow(port: number, count = 1): Promise<boolean> {
  for (let next = port; next < port + count; next++) if (!(await isFree(next))) return false
  return true
}

/** The first of `count` free ports in a row. */
export async function anyRow(count = 1): Promise<number> {
  for (let i = 0; i < TRIES; i++) {
    const port = FIRST + Math.floor(Math.random() * (LAST - FIRST - count))
    if (await isFreeRow(port, count)) return port
  }
  throw new Error(`there are no ${count} free ports in a row between ${FIRST} and ${LAST}`)
}

function isFree(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}
