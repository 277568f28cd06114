import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, it } from '@jest/globals'
import { writeCertificates } from '../support/certificates.ts'
import { describeOnEnvoy } from '../support/envoy-suite.ts'
import { documents, GATEWAY, parametersYaml, poolYaml, routeYaml } from '../support/pool-config.ts'
import { type RecordingBackend, startRecordingBackend } from '../support/recording-backend.ts'
import { jsonReply } from '../support/reply.ts'
import { Rig } from '../support/rig.ts'
import { makeTempFolder, type TempFolder } from '../support/temp-folder.ts'
import { waitFor } from '../support/wait-for.ts'

describeOnEnvoy('xDS over TLS', envoy => {
  let backend: RecordingBackend
  let folder: TempFolder
  let rig: Rig | undefined

  beforeAll(async () => {
    folder = await makeTempFolder()
    backend = await startRecordingBackend({
      script: request => (request.path === '/metrics' ? { status: 404 } : jsonReply({ ok: true })),
    })
    await writeCertificates(folder.path)
  })
  afterEach(async () => {
    await rig?.stop()
    rig = undefined
  })
  afterAll(async () => {
    await backend?.close()
    await folder?.remove()
  })

  const file = (name: string) => join(folder.path, name)
  const pair = (name: string) => `${file(`${name}.crt`)},${file(`${name}.key`)}`
  const ca = (name: string) => ['--tls-ca', file(`${name}.crt`)]

  const start = async (args: readonly string[], bootstrapArgs: readonly string[]) => {
    rig = await Rig.start({
      plane: envoy,
      args,
      bootstrapArgs,
      config: documents(
        GATEWAY,
        parametersYaml(),
        poolYaml({ addresses: [backend.address] }),
        routeYaml({ models: { m: 'pool' } }),
      ),
    })
    return rig
  }

  /** A request passes, and Envoy's access log tells Signalbox that it is over. */
  async function works(args: readonly string[], bootstrapArgs: readonly string[]): Promise<void> {
    const running = await start(args, bootstrapArgs)
    const response = await fetch(`${running.url}/v1/completions`, { method: 'POST', body: '{"model":"m"}' })
    await response.arrayBuffer()
    expect(response.status).toBe(200)
    await waitFor('the access log', async () => {
      const pools = await running.admin<Record<string, { inFlight: number }[]>>('/pools')
      return pools['default/pool']!.every(({ inFlight }) => inFlight === 0)
    })
  }

  it('works, with the certificate verified on both ways', async () => {
    await works(['--xds-tls', pair('server'), ...ca('server')], ca('server'))
  })

  it('works where both sides show certificates, and ext_proc over TLS beside it', async () => {
    const client = ['--tls-client', pair('client')]
    const mutual = ['--xds-tls', pair('server'), '--xds-client-ca', file('client.crt'), ...ca('server'), ...client]
    await works([...mutual, '--tls', pair('server'), '--client-ca', file('client.crt')], [...ca('server'), ...client])
  })

  it.each([
    ['another authority', () => [['--xds-tls', pair('server')], ca('stranger')]],
    ['another name', () => [['--xds-tls', pair('elsewhere')], ca('elsewhere')]],
    ['plaintext', () => [['--xds-tls', pair('server')], []]],
    ['plaintext of Signalbox', () => [[], ca('server')]],
    [
      'no certificate of the client',
      () => [
        ['--xds-tls', pair('server'), '--xds-client-ca', file('client.crt'), '--tls-client', pair('client')],
        ca('server'),
      ],
    ],
    [
      "a stranger's certificate",
      () => [
        ['--xds-tls', pair('server'), '--xds-client-ca', file('client.crt'), '--tls-client', pair('client')],
        [...ca('server'), '--tls-client', pair('stranger')],
      ],
    ],
  ])('gives nothing to an Envoy with %s', async (_what, make) => {
    const [args, bootstrapArgs] = make()
    rig = await Rig.start({
      plane: envoy,
      waits: false,
      args: args!,
      bootstrapArgs: bootstrapArgs!,
      config: documents(GATEWAY, parametersYaml(), poolYaml({ addresses: [backend.address] })),
    })
    const { admin } = rig.envoy!
    await waitFor('Envoy to have tried', async () => {
      const stats = await admin.stats('^cluster.signalbox_xds.upstream_cx_(connect_fail|destroy)$')
      return Object.values(stats).some(count => count > 0)
    })
    expect(await rig.admin('/clients')).toEqual([])
    expect(await admin.stats('^listener_manager.listener_added$')).toEqual({ 'listener_manager.listener_added': 0 })
  })
})
