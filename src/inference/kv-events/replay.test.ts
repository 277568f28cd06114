import { Buffer } from 'node:buffer'
import { afterEach, expect, it } from '@jest/globals'
import { Router } from 'zeromq'
import { waitFor } from '../../../test/support/wait-for.ts'
import { Replay } from './replay.ts'

const closers: (() => void)[] = []
afterEach(() => {
  for (const close of closers.splice(0)) close()
})

it('ends a replay that drips, however long its engine goes on', async () => {
  const router = new Router({ linger: 0 })
  await router.bind('tcp://127.0.0.1:*')
  closers.push(() => router.close())
  let over: string | undefined
  let events = 0
  const replay = new Replay({
    host: '127.0.0.1',
    port: Number(router.lastEndpoint!.split(':').at(-1)),
    from: 0,
    timeoutMs: 600_000,
    idleMs: 2000,
    onEvents: () => events++,
    onEnd: error => (over = error?.message ?? 'whole'),
  })
  closers.push(() => replay.close())
  const [identity, empty] = await router.receive()
  let sequence = 0
  await waitFor(
    'its end',
    async () => {
      const number = Buffer.alloc(8)
      number.writeBigUInt64BE(BigInt(sequence++))
      await router.send([identity!, empty!, number, 'x'])
      return over !== undefined
    },
    { intervalMs: 50, timeoutMs: 60_000 },
  )
  // Messages that are too far apart on a machine under load end it too.
  expect(over).toMatch(/drips|no answer/)
  expect(events).toBeGreaterThan(0)
})
