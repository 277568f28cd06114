import { rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { pickedPool } from '../../../test/support/picked-pool.ts'
import { PickerClient } from '../../../test/support/picker-client.ts'
import { type RecordingBackend, startRecordingBackend } from '../../../test/support/recording-backend.ts'
import { makeTempFolder, type TempFolder } from '../../../test/support/temp-folder.ts'
import { waitFor } from '../../../test/support/wait-for.ts'
import { compileSet } from '../../compile/compile.ts'
import { loadFiles } from '../../config/load-files.ts'
import { formatProblem } from '../../config/problem.ts'
import { createLog } from '../../telemetry/log.ts'
import { Signalbox } from '../serve/signalbox.ts'
import { type EppOptions, parseEppOptions } from './epp-options.ts'

let folder: TempFolder
let backends: RecordingBackend[]
const cleanups: (() => unknown)[] = []

beforeEach(async () => {
  folder = await makeTempFolder()
  backends = await Promise.all([1, 2].map(() => startRecordingBackend({ script: () => ({ status: 404 }) })))
})
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup()
  await Promise.all(backends.map(backend => backend.close()))
  await folder.remove()
})

const config = () => `
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- { name: list, type: file-discovery, parameters: { path: "${join(folder.path, 'endpoints.yaml')}", watchFile: true } }
- { type: queue-scorer }
dataLayer: { discovery: { pluginRef: list } }
`
async function list(...of: readonly RecordingBackend[]): Promise<void> {
  const lines = of.map(({ port }, i) => `- { name: vllm-${i}, address: 127.0.0.1, port: "${port}" }`)
  await writeFile(join(folder.path, 'new'), `endpoints:\n${lines.join('\n')}\n`)
  await rename(join(folder.path, 'new'), join(folder.path, 'endpoints.yaml'))
}

function options(...flags: readonly string[]): EppOptions {
  const ports = ['--grpc-port=0', '--grpc-health-port=0', '--metrics-port=0', '--drain-timeout=0', '--threads=1']
  return parseEppOptions([...ports, '--secure-serving=false', ...flags], {}, '127.0.0.1')
}

describe('signalbox epp with endpoints from a file', () => {
  it.each(['--config-file', '--config-text'])(
    'needs no Kubernetes, and follows the file: %s',
    async flag => {
      const [first, second] = backends as [RecordingBackend, RecordingBackend]
      await list(first)
      const file = join(folder.path, 'picker.yaml')
      await writeFile(file, config())
      const { serve, notes } = options(
        '--pool-name=job-42',
        '--pool-namespace=slurm',
        `${flag}=${flag === '--config-file' ? file : config()}`,
      )
      expect(notes).toEqual([])
      const signalbox = new Signalbox(serve, createLog('silent'))
      cleanups.push(() => signalbox.stop())
      await signalbox.start()
      const gateway = new PickerClient(signalbox.extProcAddress)
      cleanups.push(() => gateway.close())
      expect(await gateway.health('readiness')).toBe('SERVING')
      expect(await gateway.pick()).toEqual({ endpoints: first.address })
      const pools = (await (await fetch(`http://${signalbox.adminAddress}/pools`)).json()) as object
      expect(Object.keys(pools)).toEqual(['slurm/job-42'])

      await list(second)
      await waitFor('the other endpoint', async () => {
        const picked = await gateway.pick()
        return 'endpoints' in picked && picked.endpoints === second.address
      })
      // What is nonsense changes nothing.
      await writeFile(join(folder.path, 'endpoints.yaml'), 'endpoints: 7')
      await list()
      await waitFor('no endpoint', async () => !('endpoints' in (await gateway.pick())))
    },
    60_000,
  )

  it('says what flags mean beside it', () => {
    const text = `--config-text=${config()}`
    expect(() => options(text)).toThrow(/--pool-name is missing/)
    expect(() => options(text, '--all-pools')).toThrow(/--all-pools: with dataLayer.discovery/)
    expect(() => options(text, '--pool-name=p', '--endpoint-selector=a=b')).toThrow(/--endpoint-selector: with/)
    expect(options(text, '--pool-name=p', '--kubeconfig=x').notes).toEqual([
      expect.stringMatching(/^--kubeconfig has no effect/),
    ])
  })

  it('a file that is not there is told at the start', async () => {
    const signalbox = new Signalbox(options('--pool-name=p', `--config-text=${config()}`).serve, createLog('silent'))
    cleanups.push(() => signalbox.stop())
    await expect(signalbox.start()).rejects.toThrow(/endpoints.yaml.*no such file/s)
  })

  it.each(['endpoints: [{ name: a, address: nonsense, port: 1 }]', undefined])(
    'a mistake in that file is one error, whatever the file has: %j',
    async text => {
      if (text !== undefined) await writeFile(join(folder.path, 'endpoints.yaml'), text)
      const signalbox = new Signalbox(options('--pool-name=p', `--config-text=${config()}`).serve, createLog('silent'))
      cleanups.push(() => signalbox.stop())
      const error = await signalbox.start().then(
        () => undefined,
        (reason: unknown) => reason as Error,
      )
      expect(error?.message).toMatch(/endpoints.yaml/)
      expect(error?.message).not.toContain('was not read')
    },
  )

  it('validate tells no second error either', async () => {
    await writeFile(join(folder.path, 'picker.yaml'), `${pickedPool()}---${config()}`)
    const set = await loadFiles([join(folder.path, 'picker.yaml')])
    const { errors } = compileSet(set, {
      extProc: { addresses: ['127.0.0.1:1'] },
      gatewayPools: { namespace: undefined },
    })
    expect(errors.map(formatProblem)).toEqual([expect.stringMatching(/endpoints.yaml.*no such file/)])
  })
})
