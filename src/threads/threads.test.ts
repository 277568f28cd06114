import { expect, it } from '@jest/globals'
import { createLog } from '../telemetry/log.ts'
import { Threads } from './threads.ts'

it('starts and stops', async () => {
  console.error('a')
  const threads = new Threads({
    count: 2,
    listen: { host: '127.0.0.1', port: 0 },
    ownAddresses: true,
    worker: {
      transport: 'node',
      tls: undefined,
      maxHeldBytes: 1e6,
      modeOverride: 'none',
      maxConnectionAgeMs: undefined,
      releaseBy: 'response',
    },
    log: createLog('debug'),
    onLive: () => {},
  })
  await threads.start()
  process.stderr.write(JSON.stringify(threads.status()))
  threads.run(
    { version: '1', routing: { modelHeader: 'm', baseModelHeader: 'b', baseModels: {} }, entries: [], pools: [] },
    () => process.stderr.write('in force'),
  )
  await threads.publish()
  process.stderr.write(JSON.stringify(threads.status()))
  await threads.drain(1000)
  expect(1).toBe(1)
})
