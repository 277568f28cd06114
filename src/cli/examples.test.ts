import { readdirSync, readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { parseAllDocuments } from 'yaml'
import { makeTempFolder, type TempFolder } from '../../test/support/temp-folder.ts'
import { readTexts } from '../config/object-set.ts'
import { formatProblem } from '../config/problem.ts'
import { KINDS } from '../config/kinds/registry.ts'
import { selfSigned } from '../grpc/self-signed.ts'
import { validateCommand } from './validate.ts'

const ROOT = join(import.meta.dirname, '..', '..')
const KINDS_FOLDER = join(ROOT, 'examples', 'kinds')
const names = readdirSync(KINDS_FOLDER).filter(name => name.endsWith('.yaml'))

let folder: TempFolder
beforeAll(async () => {
  folder = await makeTempFolder()
})
afterAll(() => folder.remove())

/** What `signalbox validate` prints. */
async function validate(...args: readonly string[]): Promise<string> {
  let out = ''
  const stdout = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      out += chunk.toString()
      done()
    },
  })
  await validateCommand.run(args, { stdout, stderr: process.stderr, signal: AbortSignal.abort() })
  return out
}

describe('examples', () => {
  it('plug-ins/pool.yaml is right with its plug-in', async () => {
    const file = (name: string) => join(ROOT, 'examples', 'plug-ins', name)
    const found = await validate('--plugins', file('label-value-scorer.ts'), file('pool.yaml'))
    expect(found).toBe('6 objects, 0 errors, 0 warnings\n')
  })

  it('plug-ins/all-roles.yaml is right with its plug-ins', async () => {
    const file = (name: string) => join(ROOT, 'examples', 'plug-ins', name)
    const found = await validate('--plugins', file('all-roles.ts'), file('all-roles.yaml'))
    // Nobody leads requests to its pool.
    expect(found).toMatch(/: no route leads to this pool \(unused\)\n2 objects, 0 errors, 1 warning\n$/)
  })

  it.each(names)('kinds/%s is right as it stands, but for the certificate that everybody has to bring', async name => {
    let path = join(KINDS_FOLDER, name)
    if (name === 'https.yaml') {
      const { cert, key } = selfSigned(['llm.example.com'])
      const indented = (pem: string) => pem.trimEnd().replaceAll('\n', '\n    ')
      const text = readFileSync(path, 'utf8').replace('CERTIFICATE', indented(cert)).replace('KEY', indented(key))
      path = join(folder.path, name)
      await writeFile(path, text)
    }
    expect(await validate(path)).toMatch(/^\d+ objects?, 0 errors, 0 warnings\n$/)
  })

  it.each(['demo', 'compose'])('%s is right', async name => {
    expect(await validate(join(ROOT, 'examples', name))).toContain(', 0 errors, ')
  })

  it.each(['plain-envoy/picker.yaml', 'picker-config/llm-d-default.yaml'])('%s is right', async name => {
    expect(await validate(join(ROOT, 'examples', name))).toBe('1 object, 0 errors, 0 warnings\n')
  })

  it('are there for each kind', () => {
    const shown = new Set(
      names.flatMap(name =>
        parseAllDocuments(readFileSync(join(KINDS_FOLDER, name), 'utf8')).map(document => String(document.get('kind'))),
      ),
    )
    for (const { kind } of KINDS.values()) expect([...shown]).toContain(kind)
    const readme = readFileSync(join(KINDS_FOLDER, 'README.md'), 'utf8')
    for (const name of names) expect(readme).toContain(`(${name})`)
  })
})

describe('YAML in the documents', () => {
  it.each(['README.md', 'docs/configuration.md'])('%s is right', path => {
    const blocks = [...readFileSync(join(ROOT, path), 'utf8').matchAll(/^```yaml\n(.*?)^```/gms)].map(
      match => match[1]!,
    )
    expect(blocks.length).toBeGreaterThan(0)
    for (const text of blocks) expect(readTexts([{ file: path, text }]).errors.map(formatProblem)).toEqual([])
  })
})
