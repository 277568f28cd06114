import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, expect, it } from '@jest/globals'
import { waitFor } from '../../../test/support/wait-for.ts'
import { createLog } from '../../telemetry/log.ts'
import type { FinishedSpan } from '../../telemetry/span.ts'
import { TraceExporter } from './trace-exporter.ts'
import type { TracingSettings } from './tracing-options.ts'

const SPAN: FinishedSpan = {
  name: 's',
  kind: 'internal',
  traceId: '0af7651916cd43dd8448eb211c80319c',
  spanId: 'b7ad6b7169203331',
  startedAt: 1,
  endedAt: 2,
  attributes: {},
}

/** 400: an answer that is not tried again. */
const servers: Server[] = []
const collector = async (status: () => number): Promise<string> => {
  const server = createServer((request, response) => {
    request.resume().on('end', () => response.writeHead(status()).end())
  })
  servers.push(server)
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

afterEach(() => {
  for (const server of servers.splice(0)) server.close().closeAllConnections()
})

const settings = (exporter: TracingSettings['exporter'], endpoint: string): TracingSettings => ({
  sampler: { parentBased: false, share: 1 },
  exporter,
  endpoint,
  serviceName: 'test',
  batches: { scheduledDelayMillis: 10 },
})

async function start(exporter: TracingSettings['exporter'], endpoint: string) {
  const lines: string[] = []
  const log = createLog('warn', { write: line => void lines.push(line) })
  return { lines, traces: await TraceExporter.start(settings(exporter, endpoint), '1', log) }
}

it('tells once that a collector takes nothing, and when it does again', async () => {
  let status = 400
  let posts = 0
  const { lines, traces } = await start('http/protobuf', await collector(() => (posts++, status)))
  for (let batch = 1; batch <= 3; batch++) {
    traces.take([SPAN])
    await waitFor('a batch', () => posts === batch)
  }
  await waitFor('the warning', () => lines.length === 1)
  expect(lines[0]).toContain('traces are lost: the collector does not take them')
  status = 200
  traces.take([SPAN])
  await waitFor('the end of it', () => lines.length === 2)
  expect(lines[1]).toContain('takes traces again')
  await traces.stop()
  expect(lines).toHaveLength(2)
})

it('stops with a collector that is not there, with one warning', async () => {
  const { lines, traces } = await start('http/protobuf', await collector(() => 400))
  traces.take([SPAN])
  await traces.stop()
  expect(lines).toHaveLength(1)
})
