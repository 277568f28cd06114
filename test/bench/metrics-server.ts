/**
 * Metrics pages of many endpoints from one process, with gauges that change every 100 ms: what is scraped where `fakevllm` cannot be
 * built.
 *
 *     node test/bench/metrics-server.ts COUNT          prints {"ports": […]}
 */
import { createServer } from 'node:net'
import { metricsPage } from './metrics-page.ts'

const STATES = 16

const ports: number[] = []
for (let i = 0; i < Number(process.argv[2] ?? 8); i++) {
  const answers = Array.from({ length: STATES }, (_, state) => {
    const body = metricsPage(i, state)
    return Buffer.from(`HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n${body}`)
  })
  const server = createServer(socket => {
    socket.on('data', () => socket.write(answers[Math.floor(Date.now() / 100) % STATES]!))
    socket.on('error', () => undefined)
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  ports.push((server.address() as { port: number }).port)
}
console.log(JSON.stringify({ ports }))
process.on('SIGTERM', () => process.exit(0))
process.stdin.on('end', () => process.exit(0)).resume()
