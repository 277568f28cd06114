import { connect } from 'node:tls'
import { Agent, request } from 'node:https'
import { afterAll, beforeAll, expect, it } from '@jest/globals'
import { selfSigned } from '../../src/grpc/self-signed.ts'
import { describeOnPlanes } from '../support/envoy-suite.ts'
import { freePort } from '../support/free-ports.ts'
import { documents, GATEWAY, parametersYaml, poolYaml, routeYaml } from '../support/pool-config.ts'
import { type RecordingBackend, startRecordingBackend } from '../support/recording-backend.ts'
import { jsonReply } from '../support/reply.ts'
import { Rig } from '../support/rig.ts'
import { waitFor } from '../support/wait-for.ts'

const NAME = 'llm.test'

function secretYaml({ cert, key }: { readonly cert: string; readonly key: string }): string {
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Secret',
    type: 'kubernetes.io/tls',
    metadata: { name: 'tls' },
    stringData: { 'tls.crt': cert, 'tls.key': key },
  })
}

describeOnPlanes('certificates of listeners', plane => {
  let backend: RecordingBackend
  let rig: Rig
  let port: number
  // Of one subject name, OpenSSL would look at the first only.
  const certificates = ['one', 'two', 'three'].map(name => selfSigned([name, NAME]))
  const configuration = (index: number) =>
    documents(
      GATEWAY.replace(
        'listeners: [',
        `listeners: [{ name: https, port: ${port}, protocol: HTTPS, tls: { certificateRefs: [{ name: tls }] } }, `,
      ),
      secretYaml(certificates[index]!),
      poolYaml({ addresses: [backend.address] }),
      routeYaml({ models: { '': 'pool' } }),
      parametersYaml(),
    )

  beforeAll(async () => {
    backend = await startRecordingBackend({
      script: ({ path }) => (path === '/metrics' ? { status: 404 } : jsonReply({ ok: true })),
    })
    port = await freePort()
    rig = await Rig.start({ plane, config: configuration(0) })
  })
  afterAll(async () => {
    await rig?.stop()
    await backend?.close()
  })

  /** Which of the certificates a new connection is shown. */
  const shown = () =>
    new Promise<number>((resolve, reject) => {
      const socket = connect({ host: '127.0.0.1', port, servername: NAME, rejectUnauthorized: false }, () => {
        const pem = socket.getPeerX509Certificate()!.toString()
        socket.destroy()
        resolve(certificates.findIndex(({ cert }) => cert.replaceAll(/\s/g, '') === pem.replaceAll(/\s/g, '')))
      })
      socket.on('error', reject)
    })

  /** Status of a request; `ca`: the certificates that the client takes. */
  const post = (agent: Agent | undefined, ca: readonly string[]) =>
    new Promise<number>((resolve, reject) => {
      const outgoing = request(
        {
          host: '127.0.0.1',
          port,
          path: '/v1/x',
          method: 'POST',
          servername: NAME,
          ca: [...ca],
          ...(agent ? { agent } : {}),
        },
        incoming => incoming.on('end', () => resolve(incoming.statusCode!)).resume(),
      )
      outgoing.on('error', reject)
      outgoing.end('{"model":"m"}')
    })

  it('are exchanged without a failed request; connections live on', async () => {
    await waitFor('the first certificate', async () => (await shown()) === 0)
    const all = certificates.map(({ cert }) => cert)
    const kept = new CountingAgent({ keepAlive: true, maxSockets: 1 })
    const outcomes: unknown[] = []
    const over = new AbortController()
    const traffic = Array.from({ length: 4 }, async (_, i) => {
      const fresh = () => new Agent({ keepAlive: false })
      while (!over.signal.aborted) outcomes.push(await post(i === 0 ? kept : fresh(), all).catch(String))
    })
    for (const next of [1, 2, 0, 1]) {
      await rig.configure(configuration(next))
      await waitFor(`certificate ${next}`, async () => (await shown()) === next)
      const before = outcomes.length
      await waitFor('more traffic', () => outcomes.length > before + 10)
    }
    over.abort()
    await Promise.all(traffic)
    kept.destroy()
    expect(new Set(outcomes)).toEqual(new Set([200]))
    expect(kept.opened).toBe(1)
    // Who takes only the first one gets no connection now.
    await expect(post(new Agent(), [all[0]!])).rejects.toThrow()
  })
})

/** Counts the connections that it opened. */
class CountingAgent extends Agent {
  opened = 0

  override createConnection(...args: Parameters<Agent['createConnection']>): ReturnType<Agent['createConnection']> {
    this.opened++
    return super.createConnection(...args)
  }
}
