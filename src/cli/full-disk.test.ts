import { spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from '@jest/globals'
import { freePort } from '../../test/support/free-ports.ts'
import { documents, GATEWAY, poolYaml, routeYaml } from '../../test/support/pool-config.ts'
import { makeTempFolder, type TempFolder } from '../../test/support/temp-folder.ts'
import { waitFor } from '../../test/support/wait-for.ts'

/** A device on which every write fails with ENOSPC, as on a full disk. */
const FULL = '/dev/full'
const PROGRAM = join(import.meta.dirname, '..', '..', 'bin', 'signalbox')

let folder: TempFolder
let config: string
let full: number
beforeAll(async () => {
  folder = await makeTempFolder()
  config = join(folder.path, 'config.yaml')
  await writeFile(
    config,
    documents(
      GATEWAY.replace('@PORT@', '8080'),
      poolYaml({ addresses: ['127.0.0.1:1'] }),
      routeYaml({ models: { '': 'pool' } }),
    ),
  )
  full = openSync(FULL, 'w')
})
afterAll(async () => {
  closeSync(full)
  await folder.remove()
})

it('serve goes on when its log cannot be written', async () => {
  const port = await freePort()
  const args = [
    'serve',
    '--config',
    config,
    '--ext-proc',
    '127.0.0.1:0',
    '--xds',
    '127.0.0.1:0',
    '--log-level',
    'trace',
  ]
  const child = spawn(PROGRAM, [...args, '--threads', '1', '--admin', `127.0.0.1:${port}`], {
    stdio: ['ignore', 'ignore', full],
  })
  const ended = new Promise<number | null>(resolve => child.once('exit', code => resolve(code)))
  try {
    await waitFor(
      'readiness',
      async () => child.exitCode !== null || (await fetch(`http://127.0.0.1:${port}/readyz`)).status === 200,
      { timeoutMs: 20_000 },
    )
    expect(child.exitCode).toBeNull()
  } finally {
    child.kill('SIGTERM')
  }
  expect(await ended).toBe(0)
})

it('a command whose output cannot be written says so', async () => {
  const child = spawn(PROGRAM, ['validate', config], { stdio: ['ignore', full, 'pipe'] })
  let err = ''
  child.stderr!.setEncoding('utf8').on('data', (text: string) => (err += text))
  const status = await new Promise(resolve => child.once('close', resolve))
  expect(status).toBe(1)
  expect(err).toMatch(/^signalbox: cannot write to standard output: ENOSPC.*\n$/)
})
