/** What a thread that dies had in its hands, as far as other threads count it: issue 4, 3. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import { Client, credentials, Metadata } from '@grpc/grpc-js'
import { afterEach, expect, it } from '@jest/globals'
import { documents, poolYaml } from '../../../test/support/pool-config.ts'
import { type RecordingBackend, startRecordingBackend } from '../../../test/support/recording-backend.ts'
import { makeTempFolder } from '../../../test/support/temp-folder.ts'
import { waitFor } from '../../../test/support/wait-for.ts'
import { BodyMode } from '../../extproc/modes.ts'
import { ProcessingRequestSchema } from '../../gen/envoy/service/ext_proc/v3/external_processor_pb.ts'
import { createLog } from '../../telemetry/log.ts'
import { parseServeOptions } from './options.ts'
import { Signalbox } from './signalbox.ts'

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup()
})

const MODES = { requestBodyMode: BodyMode.FULL_DUPLEX_STREAMED, responseBodyMode: BodyMode.FULL_DUPLEX_STREAMED }
const POST = Object.entries({ ':method': 'POST', ':path': '/v1/completions', 'content-type': 'application/json' })
const headers = POST.map(([key, value]) => ({ key, rawValue: Buffer.from(value) }))

it('its requests are over and its held bytes free, though their clients never said so', async () => {
  const backend: RecordingBackend = await startRecordingBackend({ script: () => ({ status: 404 }) })
  const folder = await makeTempFolder()
  cleanups.push(() => Promise.all([backend.close(), folder.remove()]))
  const config = join(folder.path, 'config.yaml')
  const unknown = { 'signalbox.dev/unknown-models': 'Forward' }
  await writeFile(config, documents(poolYaml({ addresses: [backend.address], annotations: unknown })))
  const args = ['--pool=default/pool', '--xds=off', '--ext-proc=127.0.0.1:0', '--admin=127.0.0.1:0', '--threads=2']
  const signalbox = new Signalbox(parseServeOptions([`--config=${config}`, ...args, '--drain=1']), createLog('silent'))
  cleanups.push(() => signalbox.stop())
  await signalbox.start()
  const { threads } = signalbox
  const left = async () => {
    await threads.publish()
    const [endpoint] = threads.keeper.pools.get('default/pool')!.snapshot()
    return { inFlight: endpoint!.inFlight, isHeld: threads.budget.heldByAll > 0 }
  }

  const bytes = (value: Buffer): Buffer => value
  const open = (body: string, endOfStream: boolean) => {
    // A connection each, which the kernel gives to any thread.
    const client = new Client(signalbox.extProcAddress, credentials.createInsecure(), {
      'grpc.use_local_subchannel_pool': 1,
    })
    cleanups.push(() => client.close())
    const path = '/envoy.service.ext_proc.v3.ExternalProcessor/Process'
    const stream = client.makeBidiStreamRequest<Buffer, Buffer>(path, bytes, bytes, new Metadata())
    stream.on('error', () => {}).resume()
    const send = (message: MessageInitShape<typeof ProcessingRequestSchema>) =>
      stream.write(Buffer.from(toBinary(ProcessingRequestSchema, create(ProcessingRequestSchema, message))))
    send({ request: { case: 'requestHeaders', value: { headers: { headers } } }, protocolConfig: MODES })
    send({ request: { case: 'requestBody', value: { body: Buffer.from(body), endOfStream } } })
  }
  for (let i = 0; i < 6; i++) {
    open('{"model":"m","prompt":"x"}', true)
    // Undecided: its model may still come.
    open(`{"prompt":"${'x'.repeat(100_000)}`, false)
  }
  await waitFor('all to be there', async () => {
    const { inFlight, isHeld } = await left()
    return inFlight === 6 && isHeld
  })
  for (const thread of threads.threads) thread.kill()
  await waitFor('their deaths', () => threads.threads.every(({ restarts }) => restarts === 1))
  expect(await left()).toEqual({ inFlight: 0, isHeld: false })
}, 60_000)
