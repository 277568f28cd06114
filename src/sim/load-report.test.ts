import { request as httpRequest, type IncomingMessage } from 'node:http'
import { afterEach, describe, expect, it } from '@jest/globals'
import { readBinaryLoadReport, readLoadReport } from '../inference/load-report.ts'
import type { SimulatorOptions } from './options.ts'
import { type Simulator, startSimulator } from './simulator.ts'

let simulator: Simulator

afterEach(() => simulator.close())

interface Answer {
  readonly headers: IncomingMessage['headers']
  readonly trailers: IncomingMessage['trailers']
}

async function ask(options: SimulatorOptions, stream: boolean, format?: string): Promise<Answer> {
  simulator = await startSimulator({ port: 0, speed: 1000, numGpuBlocks: 100, ...options })
  const { promise, resolve, reject } = Promise.withResolvers<Answer>()
  const headers = format === undefined ? {} : { 'endpoint-load-metrics-format': format }
  const outgoing = httpRequest(`${simulator.url}/v1/completions`, { method: 'POST', headers, agent: false })
  outgoing.on('error', reject)
  outgoing.on('response', incoming => {
    incoming.resume()
    incoming.on('end', () => resolve({ headers: incoming.headers, trailers: incoming.trailers }))
  })
  outgoing.end(JSON.stringify({ model: 'llama', prompt: 'one two three', max_tokens: 3, stream }))
  return promise
}

/** Nothing waits; the one request that is answered has ended, and its blocks are free. */
const IDLE = { waiting: 0, running: 0, kvUsage: 0 }

describe('load reports', () => {
  it.each([
    ['TEXT', 'TEXT named_metrics.num_requests_waiting=0, '],
    ['json', 'JSON {"named_metrics":{"num_requests_waiting":0,'],
  ])('are in the headers of a whole answer: %s', async (format, beginning) => {
    const value = (await ask({}, false, format)).headers['endpoint-load-metrics'] as string
    expect(value.slice(0, beginning.length)).toBe(beginning)
    expect(readLoadReport(value)).toEqual(IDLE)
  })

  it('are in the trailers of a streamed one', async () => {
    const { headers, trailers } = await ask({}, true, 'TEXT')
    expect(headers['endpoint-load-metrics']).toBeUndefined()
    expect(headers['trailer']).toBe('endpoint-load-metrics')
    expect(readLoadReport(trailers['endpoint-load-metrics']!)).toEqual(IDLE)
  })

  it.each([true, false])('may be the message itself (streamed: %s)', async stream => {
    const { headers, trailers } = await ask({ loadReports: 'BIN' }, stream)
    const value = (stream ? trailers : headers)['endpoint-load-metrics-bin'] as string
    expect(readBinaryLoadReport(value)).toEqual(IDLE)
  })

  it.each<[SimulatorOptions, string | undefined]>([
    [{}, undefined],
    [{}, 'XML'],
    [{ loadReports: 'off' }, 'TEXT'],
  ])('nobody asked for, or gives, are not there: %j %s', async (options, format) => {
    const { headers, trailers } = await ask(options, true, format)
    expect([...Object.keys(headers), ...Object.keys(trailers)].filter(name => name.includes('load'))).toEqual([])
    expect(headers['trailer']).toBeUndefined()
  })
})
