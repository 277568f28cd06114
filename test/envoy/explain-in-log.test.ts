import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from '@jest/globals'
import { describeOnPlanes } from '../support/envoy-suite.ts'
import { documents, GATEWAY, parametersYaml, poolYaml, routeYaml } from '../support/pool-config.ts'
import { type RecordingBackend, startRecordingBackend } from '../support/recording-backend.ts'
import { jsonReply } from '../support/reply.ts'
import { Rig } from '../support/rig.ts'
import { makeTempFolder, type TempFolder } from '../support/temp-folder.ts'
import { waitFor } from '../support/wait-for.ts'

const KEY = 'a key that nobody guesses'

describeOnPlanes('the access log of our own fleet', plane => {
  let folder: TempFolder
  let backend: RecordingBackend
  let rig: Rig

  beforeAll(async () => {
    folder = await makeTempFolder()
    await writeFile(join(folder.path, 'key'), KEY)
    backend = await startRecordingBackend({
      script: ({ path }) => (path === '/metrics' || path === '/v1/models' ? { status: 404 } : jsonReply({})),
    })
    rig = await Rig.start({
      plane,
      args: [`--explain-key-file=${join(folder.path, 'key')}`],
      config: documents(
        GATEWAY,
        poolYaml({ addresses: [backend.address] }),
        routeYaml({ models: { m: 'pool' } }),
        parametersYaml(),
      ),
    })
  })

  afterAll(async () => {
    await rig?.stop()
    await backend?.close()
    await folder?.remove()
  })

  it('has the decision of a request that asks with the key', async () => {
    const response = await fetch(`${rig.url}/v1/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-signalbox-explain': KEY },
      body: '{"model":"m","prompt":"x"}',
    })
    expect(response.status).toBe(200)
    const withDecision = async () =>
      (await rig.accessLog()).filter(line => 'decision' in line && line['decision'] !== null)
    await waitFor('the line', async () => (await withDecision()).length === 1)
    const [{ decision } = {}] = await withDecision()
    expect(JSON.parse(String(decision))).toMatchObject({ status: 0 })
  })
})
