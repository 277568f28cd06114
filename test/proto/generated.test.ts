import { execFile } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it } from '@jest/globals'

const root = new URL('../../', import.meta.url).pathname

/** Path → content of all files below `folder`. */
function contents(folder: string): Map<string, string> {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter(entry => entry.isFile())
  return new Map(
    files
      .map(file => join(file.parentPath, file.name))
      .map(path => [path.slice(folder.length), readFileSync(path, 'utf8')]),
  )
}

describe('src/gen', () => {
  it('is what buf generates from proto/', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'signalbox-gen-'))
    try {
      const template = readFileSync(join(root, 'buf.gen.yaml'), 'utf8').replace(
        'out: src/gen',
        `out: ${join(folder, 'gen')}`,
      )
      writeFileSync(join(folder, 'buf.gen.yaml'), template)
      const env = { ...process.env, PATH: `${join(root, 'node_modules/.bin')}:${process.env['PATH'] ?? ''}` }
      await promisify(execFile)('buf', ['generate', '--template', join(folder, 'buf.gen.yaml')], { cwd: root, env })
      const [fresh, committed] = [contents(join(folder, 'gen')), contents(join(root, 'src/gen'))]
      expect([...fresh.keys()].sort()).toEqual([...committed.keys()].sort())
      expect([...fresh].filter(([path, text]) => committed.get(path) !== text).map(([path]) => path)).toEqual([])
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})
