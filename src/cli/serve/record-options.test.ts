import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from '@jest/globals'
import { makeTempFolder, type TempFolder } from '../../../test/support/temp-folder.ts'
import { UsageError } from '../command.ts'
import { parseServeOptions } from './options.ts'
import { recordOptions } from './record-options.ts'

let folder: TempFolder
beforeAll(async () => {
  folder = await makeTempFolder()
  await writeFile(join(folder.path, 'key'), '  0123456789abcdef\n')
  await writeFile(join(folder.path, 'short'), '0123456789abcde\n')
})
afterAll(() => folder.remove())

const parse = (...args: readonly string[]) => parseServeOptions(['--config=c', ...args])

it('options of decision records are read', () => {
  expect(recordOptions(parse())).toBeUndefined()
  expect(recordOptions(parse('--emit-endpoint-scores'))).toEqual({ scores: true, explainKey: undefined, traceShare: 0 })
  expect(parse('--trace-file=t').records.trace).toEqual({ file: 't', share: 0.01, maxBytes: 64 * 1024 * 1024 })
  const file = join(folder.path, 't')
  const all = parse(
    `--trace-file=${file}`,
    '--trace-share=1',
    '--trace-max-bytes=4096',
    `--explain-key-file=${join(folder.path, 'key')}`,
  )
  expect(all.records.trace).toEqual({ file, share: 1, maxBytes: 4096 })
  expect(recordOptions(all)).toEqual({ scores: false, explainKey: '0123456789abcdef', traceShare: 1 })
})

it.each([
  [['--trace-share=0.5'], '--trace-share needs --trace-file'],
  [['--trace-max-bytes=10000'], '--trace-max-bytes needs --trace-file'],
  [['--trace-file='], '--trace-file: is empty'],
  ...['0', '-1', '1.1', 'x', '', 'NaN', 'Infinity'].map(
    share => [['--trace-file=t', `--trace-share=${share}`], `--trace-share: '${share}' is no number`] as const,
  ),
  ...['0', '4095', 'x', ''].map(
    bytes => [['--trace-file=t', `--trace-max-bytes=${bytes}`], '--trace-max-bytes'] as const,
  ),
  [['--emit-endpoint-scores=yes'], '--emit-endpoint-scores'],
])('%j is refused', (args, message) => {
  expect(() => parse(...args)).toThrow(UsageError)
  expect(() => parse(...args)).toThrow(message)
})

it('a key that cannot be read, or is guessed, is refused', () => {
  const keyOf = (name: string) => () => recordOptions(parse(`--explain-key-file=${join(folder.path, name)}`))
  expect(keyOf('missing')).toThrow(UsageError)
  expect(keyOf('missing')).toThrow(/--explain-key-file: there is no file/)
  expect(keyOf('short')).toThrow(/less than 16 characters/)
  expect(keyOf('.')).toThrow(UsageError)
})

it('reads the fingerprints of certificates, as openssl prints them', async () => {
  const read = async (text: string) => {
    await writeFile(join(folder.path, 'clients'), text)
    const known = ['--xds=off', '--ext-proc=unix:/s']
    return recordOptions(parse(...known, `--explain-clients-file=${join(folder.path, 'clients')}`))?.explainClients
  }
  const colons = Array.from({ length: 32 }, () => 'A0').join(':')
  const plain = 'b1'.repeat(32)
  expect(await read(`sha256 Fingerprint=${colons}\n\n  ${plain} # ours\n`)).toEqual(['a0'.repeat(32), plain])
  await expect(read('# nobody')).rejects.toThrow(/has no fingerprint/)
  await expect(read(`${plain}\n${plain}ff`)).rejects.toThrow(/'b1.*ff' is no SHA-256 fingerprint/)
  expect(() =>
    recordOptions(parse('--xds=off', '--ext-proc=unix:/s', `--explain-clients-file=${join(folder.path, 'missing')}`)),
  ).toThrow(/--explain-clients-file: there is no file/)
})
