import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, it } from '@jest/globals'
import { writeCertificates } from '../support/certificates.ts'
import { describeOnPlanes } from '../support/envoy-suite.ts'
import { documents, GATEWAY, parametersYaml, poolYaml, routeYaml } from '../support/pool-config.ts'
import { type RecordingBackend, startRecordingBackend } from '../support/recording-backend.ts'
import { jsonReply } from '../support/reply.ts'
import { Rig } from '../support/rig.ts'
import { makeTempFolder, type TempFolder } from '../support/temp-folder.ts'
import { waitFor } from '../support/wait-for.ts'

describeOnPlanes('ext_proc over TLS, towards our own fleet', plane => {
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
    await backend.close()
    await folder.remove()
  })

  const file = (name: string) => join(folder.path, name)
  const pair = (name: string) => `${file(`${name}.crt`)},${file(`${name}.key`)}`

  /** Status of a request that only ext_proc can route. */
  async function statusWith(...args: string[]): Promise<number> {
    await start(args)
    return ask()
  }

  /** On a slow machine the first connection to ext_proc may take longer than a message may. */
  async function works(...args: string[]): Promise<void> {
    await start(args)
    await waitFor('an answer through ext_proc', async () => (await ask()) === 200)
  }

  async function start(args: readonly string[]): Promise<void> {
    rig = await Rig.start({
      plane,
      args,
      config: documents(
        GATEWAY,
        parametersYaml(),
        poolYaml({ addresses: [backend.address] }),
        routeYaml({ models: { m: 'pool' } }),
      ),
    })
  }

  async function ask(): Promise<number> {
    const response = await fetch(`${rig!.url}/v1/completions`, { method: 'POST', body: '{"model":"m"}' })
    await response.arrayBuffer()
    return response.status
  }

  it('works with a certificate made at start, which is not verified', async () => {
    await works('--tls', 'self-signed')
  })

  it('works with a certificate of the authority and for the name that Envoys reach', async () => {
    await works('--tls', pair('server'), '--tls-ca', file('server.crt'))
  })

  it('fails closed with a certificate of another authority', async () => {
    expect(await statusWith('--tls', pair('server'), '--tls-ca', file('stranger.crt'))).toBe(503)
  })

  it('fails closed with a certificate for another name', async () => {
    expect(await statusWith('--tls', pair('elsewhere'), '--tls-ca', file('elsewhere.crt'))).toBe(503)
  })

  it('shows the certificate that ext_proc wants to see', async () => {
    const mutual = ['--tls', pair('server'), '--tls-ca', file('server.crt'), '--client-ca', file('client.crt')]
    await works(...mutual, '--tls-client', pair('client'))
  })

  it('fails closed when it shows another one', async () => {
    const mutual = ['--tls', pair('server'), '--client-ca', file('client.crt')]
    expect(await statusWith(...mutual, '--tls-client', pair('stranger'))).toBe(503)
  })
})
