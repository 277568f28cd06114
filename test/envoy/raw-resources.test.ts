import { afterAll, beforeAll, expect, it } from '@jest/globals'
import { describeOnEnvoy } from '../support/envoy-suite.ts'
import { freePort } from '../support/free-ports.ts'
import { sendHttp1 } from '../support/http-client.ts'
import { documents, GATEWAY, parametersYaml, poolYaml, routeYaml } from '../support/pool-config.ts'
import { type RecordingBackend, startRecordingBackend } from '../support/recording-backend.ts'
import { jsonReply } from '../support/reply.ts'
import { Rig } from '../support/rig.ts'
import { startTraffic } from '../support/traffic.ts'
import { waitFor } from '../support/wait-for.ts'

interface ConfigurationStatus {
  readonly refused: readonly string[]
}

/** A listener of a user's own, with a filter that Signalbox has no descriptor of: it travels as a TypedStruct. */
const luaListener = (port: number, script: string) => `
'@type': type.googleapis.com/envoy.config.listener.v3.Listener
name: mine
address: { socket_address: { address: 127.0.0.1, port_value: ${port} } }
filter_chains:
  - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          '@type': type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: mine
          route_config:
            virtual_hosts: [{ name: all, domains: ['*'], routes: [{ match: { prefix: / }, direct_response: { status: 200 } }] }]
          http_filters:
            - name: envoy.filters.http.lua
              typed_config:
                '@type': type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua
                default_source_code:
                  inline_string: |
                    ${script}
            - name: envoy.filters.http.router
              typed_config: { '@type': type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }`

const answering = (text: string) =>
  `function envoy_on_request(handle) handle:respond({[":status"] = "200"}, "${text}") end`

describeOnEnvoy('raw resources that Signalbox has no descriptor of', envoy => {
  let backend: RecordingBackend
  let rig: Rig
  let port: number
  const ours = () =>
    documents(
      GATEWAY,
      poolYaml({ addresses: [backend.address] }),
      routeYaml({ models: { '': 'pool' } }),
      parametersYaml(),
    )

  beforeAll(async () => {
    backend = await startRecordingBackend({
      script: ({ path }) => (path === '/metrics' ? { status: 404 } : jsonReply({ ok: true })),
    })
    port = await freePort()
    rig = await Rig.start({ plane: envoy, config: ours() })
  })
  afterAll(async () => {
    await rig?.stop()
    await backend?.close()
  })

  const answer = async () => (await sendHttp1({ port, path: '/' })).body.toString()

  it('come, change and go by their file, and a bad one leaves the last good one in place', async () => {
    const traffic = startTraffic(4, () => ({ port: rig.port, path: '/v1/x', body: '{"model":"m"}' }))
    try {
      for (const text of ['first', 'second']) {
        await rig.configure(documents(ours(), luaListener(port, answering(text))))
        await waitFor(`the ${text} script`, async () => (await answer()) === text)
      }
      // Fine for Signalbox, which knows nothing of Lua; Envoy refuses the listener and keeps its last one.
      await rig.configure(documents(ours(), luaListener(port, 'this is no Lua')))
      await waitFor('the refusal by Envoy', async () => {
        const [client] = await rig.admin<{ types: { typeUrl: string; refusal?: { message: string } }[] }[]>('/clients')
        return client?.types.some(({ typeUrl, refusal }) => typeUrl.endsWith('Listener') && refusal !== undefined)
      })
      expect(await answer()).toBe('second')
      // Refused here: the field is one of a type that we know.
      await rig.configure(
        documents(ours(), luaListener(port, answering('third')).replace('stat_prefix', 'stat_prefixx')),
      )
      const refused = await waitFor('the refusal', async () => {
        const status = await rig.admin<ConfigurationStatus>('/configuration')
        return status.refused.length > 0 && status.refused
      })
      expect(refused.join()).toContain('stat_prefixx')
      expect(await answer()).toBe('second')
      await rig.configure(documents(ours(), luaListener(port, answering('fourth'))))
      await waitFor('the fourth script', async () => (await answer()) === 'fourth')
      await rig.configure(ours())
      await waitFor(
        'the listener to go',
        async () =>
          await answer().then(
            () => false,
            () => true,
          ),
      )
    } finally {
      await traffic.stop()
    }
    expect(traffic.failures).toEqual([])
    expect(traffic.answers.length).toBeGreaterThan(0)
  })
})
