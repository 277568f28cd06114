/**
 * `npm run h2spec`: the real h2spec, built with Go into the cache folder when there is none, against both transports. Ends with 1 when
 * ours fails a case; `node:http2` is there for comparison.
 */
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { listenH2 } from '../src/grpc/h2/h2-transport.ts'
import { listenHttp2 } from '../src/grpc/http2-transport.ts'
import { buildH2spec, findH2spec } from '../test/conformance/h2spec-binary.ts'
import { runH2spec } from '../test/conformance/run-h2spec.ts'

const checkout = dirname(dirname(fileURLToPath(import.meta.url)))

async function main(): Promise<number> {
  const binary = (await findH2spec(process.env, checkout)) ?? (await buildH2spec(process.env, checkout))
  console.log(`h2spec: ${binary}`)
  let failures = 0
  for (const [name, listen, tls] of [
    ['own HTTP/2', listenH2, false],
    ['own HTTP/2 over TLS', listenH2, true],
    ['node:http2', listenHttp2, false],
  ] as const) {
    const server = await listen({
      services: [],
      listen: { host: '127.0.0.1', port: 0 },
      maxConcurrentStreams: 100,
      ...(tls ? { tls: { certificate: { kind: 'self-signed' } } } : {}),
    })
    try {
      const cases = await runH2spec(binary, server.port, { tls })
      const failed = cases.filter(({ verdict }) => verdict === 'failed')
      const skipped = cases.filter(({ verdict }) => verdict === 'skipped')
      console.log(`\n${name}: ${cases.length} cases, ${failed.length} failed, ${skipped.length} skipped`)
      for (const { id, name: what, detail } of failed) {
        console.log(`  ${id} ${what}\n      ${detail.trim().split('\n').join(' | ')}`)
      }
      for (const { id, name: what } of skipped) console.log(`  ${id} ${what}: skipped`)
      if (listen === listenH2) failures += failed.length + skipped.length
    } finally {
      await server.close()
    }
  }
  return failures === 0 ? 0 : 1
}

process.exitCode = await main()
