import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, it } from '@jest/globals'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { documents, GATEWAY, parametersYaml, poolYaml, routeYaml } from '../support/pool-config.ts'
import { Rig } from '../support/rig.ts'
import { makeTempFolder, type TempFolder } from '../support/temp-folder.ts'
import { waitFor } from '../support/wait-for.ts'

const KEY = 'an-explain-key-that-is-long'
/** Requests that the engine has, unanswered. */
const open: ServerResponse[] = []
/** Names of headers that the engine has seen. */
const seen = new Set<string>()
let engine: Server
let rig: Rig
let folder: TempFolder

beforeAll(async () => {
  folder = await makeTempFolder()
  const keyFile = join(folder.path, 'key')
  await writeFile(keyFile, KEY)
  engine = createServer((request, response) => {
    for (const name of Object.keys(request.headers)) seen.add(name)
    if (request.method === 'POST') request.resume().on('end', () => open.push(response))
    else response.writeHead(404).end()
  })
  await new Promise<void>(resolve => engine.listen(0, '127.0.0.1', resolve))
  rig = await Rig.start({
    plane: 'embedded',
    args: ['--xds=off', `--explain-key-file=${keyFile}`],
    config: documents(
      GATEWAY,
      poolYaml({
        addresses: [`127.0.0.1:${(engine.address() as AddressInfo).port}`],
        annotations: { 'signalbox.dev/max-in-flight': '1' },
      }),
      routeYaml({ models: { m: 'pool' } }),
      parametersYaml(),
    ),
  })
})

afterAll(async () => {
  await rig?.stop()
  engine?.closeAllConnections()
  engine?.close()
  await folder?.remove()
})

const post = async (headers: Readonly<Record<string, string>> = {}) => {
  const response = await fetch(`${rig.url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: '{"model":"m","prompt":"x"}',
  })
  await response.text()
  return response.status
}
const answer = () => open.shift()!.writeHead(200, { 'content-type': 'application/json' }).end('{}')

it('the embedded data plane without xDS counts what is on its way, and frees it at the end', async () => {
  for (let turn = 0; turn < 3; turn++) {
    const first = post()
    await waitFor('the request', () => open.length === 1)
    expect(await post()).toBe(429)
    answer()
    expect(await first).toBe(200)
    await waitFor('room again', async () => {
      const pools = (await (await fetch(`${rig.adminUrl}/pools`)).json()) as object
      return !JSON.stringify(pools).includes('"inFlight":1')
    })
  }
})

it('its access log has the decision of a request that asks with the key, and of no other', async () => {
  for (const key of ['another-key-of-that-length', KEY]) {
    const others = [
      'x-signalbox-e',
      'x-signalbox-explainer',
      'x_signalbox-explain',
      'x-signalbox_explain',
      'x-signalbox-model',
    ]
    const request = post({ 'x-signalbox-explain': key, ...Object.fromEntries(others.map(name => [name, key])) })
    await waitFor('the request', () => open.length === 1)
    answer()
    await request
  }
  const withDecision = async () => (await rig.accessLog()).filter(line => 'decision' in line)
  // Lines come in the order of requests.
  await waitFor('the line', async () => (await withDecision()).length > 0)
  const [{ decision } = {}, ...others] = await withDecision()
  expect(others).toEqual([])
  expect(JSON.parse(String(decision))).toMatchObject({ status: 0 })
  expect([...seen].filter(name => /explain|signalbox[-_](e|model)/.test(name))).toEqual([])
})
