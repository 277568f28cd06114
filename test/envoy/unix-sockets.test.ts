import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from '@jest/globals'
import { describeOnEnvoy } from '../support/envoy-suite.ts'
import { sendHttp1 } from '../support/http-client.ts'
import { documents, GATEWAY, parametersYaml, poolYaml, routeYaml } from '../support/pool-config.ts'
import { type RecordingBackend, startRecordingBackend } from '../support/recording-backend.ts'
import { jsonReply } from '../support/reply.ts'
import { Rig } from '../support/rig.ts'
import { makeTempFolder, type TempFolder } from '../support/temp-folder.ts'
import { waitFor } from '../support/wait-for.ts'

const path = '/v1/chat/completions'
const body = '{"messages":[{"role":"user","content":"hi"}],"model":"m"}'

/** Each thread has a socket file of its own; our Envoys balance over them. */
describeOnEnvoy('two threads on Unix sockets', plane => {
  let folder: TempFolder
  let backend: RecordingBackend
  let rig: Rig

  beforeAll(async () => {
    folder = await makeTempFolder()
    const script = ({ path: asked }: { readonly path: string }) =>
      asked === '/metrics' ? { status: 404 } : jsonReply({ ok: true })
    backend = await startRecordingBackend({ script })
    rig = await Rig.start({
      plane,
      config: documents(
        GATEWAY,
        poolYaml({ addresses: [backend.address] }),
        routeYaml({ models: { '': 'pool' } }),
        parametersYaml(),
      ),
      args: ['--threads=2', `--ext-proc=unix:${join(folder.path, 'ext-proc.sock')}`],
      concurrency: 2,
    })
    await rig.decides(path)
  })
  afterAll(async () => {
    await rig.stop()
    await backend.close()
    await folder.remove()
  })

  const statuses = async (count: number) => {
    const seen = new Set<number>()
    for (let i = 0; i < count; i += 8) {
      const batch = Array.from({ length: 8 }, () => sendHttp1({ port: rig.port, path, body }))
      for (const { status } of await Promise.all(batch)) seen.add(status)
    }
    return seen
  }
  const streams = async () => {
    const metrics = await rig.metrics()
    return [1, 2].map(thread => metrics.get(`signalbox_thread_streams_total{thread="${thread}"}`) ?? 0)
  }

  it('both decide', async () => {
    const before = await streams()
    expect(await statuses(400)).toEqual(new Set([200]))
    await waitFor('both to have decided', async () => (await streams()).every((count, i) => count > before[i]! + 50))
  })

  it('one that dies comes back on its socket', async () => {
    const { threads } = rig.signalbox!
    const victim = threads.threads[1]!
    victim.kill()
    await waitFor('its successor', () => victim.restarts === 1 && threads.isLive(victim))
    const before = await streams()
    await waitFor('Envoy to send it requests again', async () => {
      await statuses(40)
      return (await streams())[1]! > before[1]! + 50
    })
    expect(await statuses(80)).toEqual(new Set([200]))
  })
})
