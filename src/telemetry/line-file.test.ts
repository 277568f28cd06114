import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from '@jest/globals'
import { makeTempFolder, type TempFolder } from '../../test/support/temp-folder.ts'
import { LineFile } from './line-file.ts'

let folder: TempFolder
beforeEach(async () => {
  folder = await makeTempFolder()
})
afterEach(() => folder.remove())

const never = (error: Error) => {
  throw error
}

it('turns over, keeps as many files as it may, and loses no line that it keeps', async () => {
  const path = join(folder.path, 'trace')
  const file = new LineFile({ path, maxBytes: 100, files: 3, onError: never })
  for (let i = 0; i < 50; i++) {
    file.write(`line ${String(i).padStart(4, '0')}`)
    // Each file is closed before the next one begins.
    if (i % 10 === 9) await file.idle()
  }
  await file.close()
  expect((await readdir(folder.path)).toSorted()).toEqual(['trace', 'trace.1', 'trace.2'])
  const lines = (
    await Promise.all(['trace.2', 'trace.1', 'trace'].map(name => readFile(join(folder.path, name), 'utf8')))
  )
    .join('')
    .trim()
    .split('\n')
  const first = 50 - lines.length
  expect(lines).toEqual(Array.from({ length: lines.length }, (_, i) => `line ${String(first + i).padStart(4, '0')}`))
  expect(lines.length).toBeGreaterThanOrEqual(20)
  expect(file.dropped).toBe(0)
})

it('goes on in a file that is there', async () => {
  const path = join(folder.path, 'trace')
  for (const text of ['one', 'two']) {
    const file = new LineFile({ path, maxBytes: 1000, files: 2, onError: never })
    file.write(text)
    await file.close()
  }
  expect(await readFile(path, 'utf8')).toBe('one\ntwo\n')
})

it('tells once that it cannot write, and drops lines', async () => {
  const errors: string[] = []
  const path = join(folder.path, 'no', 'such', 'folder')
  const file = new LineFile({ path, maxBytes: 1000, files: 2, onError: error => errors.push(error.message) })
  for (let i = 0; i < 10; i++) file.write('x')
  await file.close()
  expect(errors).toHaveLength(1)
})
