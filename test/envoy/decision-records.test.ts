import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from '@jest/globals'
import { type EnvoyProcess, startEnvoy } from '../../src/cli/envoy/envoy-process.ts'
import { parseServeOptions } from '../../src/cli/serve/options.ts'
import { Signalbox } from '../../src/cli/serve/signalbox.ts'
import { createLog } from '../../src/telemetry/log.ts'
import { describeOnEnvoy } from '../support/envoy-suite.ts'
import { gatewayBootstrap } from '../support/gateway-bootstrap.ts'
import { sendHttp1 } from '../support/http-client.ts'
import { documents, poolYaml } from '../support/pool-config.ts'
import { type RecordingBackend, startRecordingBackend } from '../support/recording-backend.ts'
import { jsonReply, sseReply } from '../support/reply.ts'
import { makeTempFolder, type TempFolder } from '../support/temp-folder.ts'
import { waitFor } from '../support/wait-for.ts'

const KEY = 'a key that nobody guesses'
const REQUESTS = 20
const USAGE = '{"usage":{"prompt_tokens":7,"completion_tokens":10,"total_tokens":17}}'
const PICKER = `
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: queue-scorer
- type: request-attribute-reporter
  parameters:
    attributes:
    - key: { name: cost }
      expression: usage.completion_tokens
`
const FILTER = {
  processingMode: {
    requestHeaderMode: 'SEND',
    responseHeaderMode: 'SEND',
    requestBodyMode: 'FULL_DUPLEX_STREAMED',
    responseBodyMode: 'FULL_DUPLEX_STREAMED',
    requestTrailerMode: 'SEND',
    responseTrailerMode: 'SEND',
  },
}

describeOnEnvoy('what a gateway and its operator are told of decisions', envoyBinary => {
  let folder: TempFolder
  let backend: RecordingBackend
  let signalbox: Signalbox
  let envoy: EnvoyProcess
  let port: number

  beforeAll(async () => {
    folder = await makeTempFolder()
    backend = await startRecordingBackend({
      script: ({ path }) => {
        if (path === '/metrics' || path === '/v1/models') return { status: 404 }
        return path.startsWith('/v1/chat') ? sseReply(['{}', USAGE, '[DONE]']) : jsonReply(JSON.parse(USAGE))
      },
    })
    await writeFile(join(folder.path, 'key'), `${KEY}\n`)
    await writeFile(join(folder.path, 'config.yaml'), documents(poolYaml({ addresses: [backend.address] }), PICKER))
    signalbox = new Signalbox(
      parseServeOptions([
        `--config=${join(folder.path, 'config.yaml')}`,
        '--pool=default/pool',
        '--xds=off',
        '--ext-proc=127.0.0.1:0',
        '--admin=127.0.0.1:0',
        '--threads=2',
        '--drain=1',
        '--log-level=silent',
        '--emit-endpoint-scores',
        `--explain-key-file=${join(folder.path, 'key')}`,
        `--trace-file=${join(folder.path, 'trace')}`,
        '--trace-share=1',
      ]),
      createLog('silent'),
    )
    await signalbox.start()
    const bootstrap = gatewayBootstrap({
      peers: { plain: { address: signalbox.extProcAddress } },
      listeners: [{ name: 'gateway', peer: 'plain', filter: FILTER }],
      pool: [backend.address],
      special: backend.address,
      accessLog: join(folder.path, 'access.log'),
    })
    const text = JSON.stringify(bootstrap).replace(
      '%DYNAMIC_METADATA(envoy.lb:x-gateway-destination-endpoint)%',
      '%DYNAMIC_METADATA(envoy.lb)%',
    )
    envoy = await startEnvoy({
      binary: envoyBinary.path,
      bootstrap: JSON.parse(text) as typeof bootstrap,
      concurrency: 2,
      extraArgs: ['--file-flush-interval-msec', '50'],
    })
    await envoy.ready()
    port = await envoy.admin.listenerPort('gateway')
  })

  afterAll(async () => {
    await envoy?.stop()
    await signalbox?.stop()
    await backend?.close()
    await folder?.remove()
  })

  const lines = async (file: string) => {
    const text = await readFile(join(folder.path, file), 'utf8')
    return text.split('\n').flatMap(line => (line === '' ? [] : [JSON.parse(line) as Record<string, unknown>]))
  }
  const post = (path: string, headers: Readonly<Record<string, string>> = {}, model = 'm') =>
    sendHttp1({
      port,
      path,
      headers: { 'content-type': 'application/json', ...headers },
      body: `{"model":"${model}","prompt":"x","messages":[{"role":"user","content":"x"}]}`,
    })
  const logged = (path: string) =>
    waitFor(`the access log of ${path}`, async () => (await lines('access.log')).find(entry => entry['path'] === path))

  it.each(['/v1/completions?json', '/v1/chat/completions?events'])('%s: scores and usage are metadata', async path => {
    const { status, body } = await post(path)
    expect([status, body.toString()]).toEqual([200, expect.stringContaining(USAGE)])
    const endpoint = backend.address
    expect((await logged(path))['metadata']).toEqual({
      'x-gateway-destination-endpoint': endpoint,
      'x-gateway-destination-endpoint-scores': { [endpoint]: expect.any(Number) },
      cost: 10,
    })
  })

  it('who has the key is told of the decision, and nobody else; the engine never sees it', async () => {
    backend.forget()
    for (const [key, told] of [
      [KEY, true],
      [`${KEY}!`, false],
    ] as const) {
      const { headers } = await post('/v1/completions', { 'x-signalbox-explain': key })
      expect(typeof headers['x-signalbox-decision']).toBe(told ? 'string' : 'undefined')
      if (told)
        expect(JSON.parse(String(headers['x-signalbox-decision']))).toMatchObject({
          model: 'm',
          status: 0,
          profiles: [{ picked: [backend.address] }],
        })
    }
    const sent = backend.requests.filter(({ path }) => path === '/v1/completions')
    expect(sent.map(({ headers }) => 'x-signalbox-explain' in headers)).toEqual([false, false])
  })

  it('every decision of every thread is in the trace', async () => {
    await Promise.all(Array.from({ length: REQUESTS }, () => post('/v1/completions', {}, 'traced')))
    const all = await waitFor('all lines of the trace', async () => {
      const found = (await lines('trace')).filter(({ model }) => model === 'traced')
      return found.length >= REQUESTS ? found : undefined
    })
    expect(all).toHaveLength(REQUESTS)
    expect(all.at(-1)).toMatchObject({ v: 1, pool: 'default/pool', model: 'traced', status: 0 })
  })
})
