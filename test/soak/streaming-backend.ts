import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

export interface StreamingBackend {
  readonly address: string
  close(): Promise<void>
}

/**
 * A model server that costs next to nothing: `x-events: n` in a request gives n server-sent events 200 ms apart, everything else a
 * short JSON answer. `/metrics` says in vLLM's words how many requests run.
 */
export async function startStreamingBackend(): Promise<StreamingBackend> {
  let running = 0
  const server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
    request.resume()
    if (request.url === '/metrics') {
      const gauges = { num_requests_running: running, num_requests_waiting: 0, kv_cache_usage_perc: 0 }
      const lines = Object.entries(gauges).map(
        ([name, value]) => `# TYPE vllm:${name} gauge\nvllm:${name}{model_name="m"} ${value}\n`,
      )
      response.end(lines.join(''))
      return
    }
    if (request.method === 'GET') {
      response.writeHead(404).end()
      return
    }
    running++
    response.on('close', () => running--)
    const events = Number(request.headers['x-events'] ?? 0)
    if (events === 0) {
      request.on('end', () => response.end('{"object":"chat.completion"}'))
      return
    }
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    void (async () => {
      for (let i = 0; i < events && !response.destroyed; i++) {
        response.write(`data: {"object":"chat.completion.chunk","choices":[{"delta":{"content":"word ${i}"}}]}\n\n`)
        await sleep(200)
      }
      response.end('data: [DONE]\n\n')
    })()
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, '127.0.0.1', resolve)
  })
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise(resolve => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
