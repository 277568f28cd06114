import { join } from 'node:path'
import { describe, expect, it } from '@jest/globals'
import { checkFloors, readSources, type SourceFile } from '../../tools/check-floors.ts'

function sources(files: Record<string, string>): readonly SourceFile[] {
  return Object.entries(files).map(([path, text]) => ({ path, text }))
}

describe('the dependency rule', () => {
  it('lets imports point down, to the own folder, and among the ground floor', () => {
    const files = {
      'gen/a.ts': '',
      'body/scan.ts': `import { x } from '../config/kinds.ts'`,
      'config/kinds.ts': `import '../gen/a.ts'`,
      'extproc/codec.ts': `import { y } from "../body/scan.ts"\nimport { z } from './wire.ts'`,
      'extproc/wire.ts': `import { readFile } from 'node:fs/promises'`,
      'embedded/proxy.ts': `import type { S } from '../config/kinds.ts'`,
      'cli/main.ts': `import { p } from '../embedded/proxy.ts'\nconst s = await import('../extproc/codec.ts')`,
    }
    expect(checkFloors(sources(files))).toEqual([])
  })

  it.each([
    ['an upward import', `import { a } from '../extproc/x.ts'`, 'imports ../extproc/x.ts: body is not above extproc'],
    ['an upward type import', `import type { A } from '../cli/x.ts'`, 'body is not above cli'],
    ['an upward re-export', `export * from '../cli/x.ts'`, 'body is not above cli'],
    ['an import for its effects', `import '../cli/x.ts'`, 'body is not above cli'],
    ['an import() at run time', `const m = await import('../cli/x.ts')`, 'body is not above cli'],
    ['a list over several lines', `import {\n  a,\n  b,\n} from '../cli/x.ts'`, 'src/body/bad.ts:4: imports'],
    ['the data plane', `import { a } from '../embedded/x.ts'`, 'only cli may use embedded'],
    ['a test', `import { a } from './a.test.ts'`, 'that is a test'],
    ['the test folder', `import { a } from '../../test/support/x.ts'`, 'that is outside src'],
    ['a missing file', `import { a } from './nowhere.ts'`, 'there is no such file'],
    ['a folder without a floor', `import { a } from '../attic/x.ts'`, 'folder attic has no floor'],
  ])('reports %s', (_, text, message) => {
    const others = Object.fromEntries(['extproc', 'cli', 'embedded', 'attic'].map(folder => [`${folder}/x.ts`, '']))
    const found = checkFloors(sources({ ...others, 'body/a.test.ts': '', 'body/bad.ts': text }))
    expect(found).toEqual([expect.stringContaining(message)])
    expect(found[0]).toMatch(/^src\/body\/bad\.ts:\d+: imports/)
  })

  it('keeps folders of one floor and the folders beside the floors apart', () => {
    const files = {
      'llm/a.ts': `import '../mcp/a.ts'`,
      'mcp/a.ts': '',
      'sim/a.ts': `import '../extproc/a.ts'`,
      'extproc/a.ts': '',
    }
    expect(checkFloors(sources(files))).toEqual([
      expect.stringContaining('llm is not above mcp'),
      expect.stringContaining('sim may use the ground floor and gen only'),
    ])
  })

  it('finds circles within a folder', () => {
    const files = {
      'body/a.ts': `import './b.ts'`,
      'body/b.ts': `import './c.ts'`,
      'body/c.ts': `import './a.ts'`,
    }
    expect(checkFloors(sources(files))).toEqual([
      'import cycle: src/body/a.ts -> src/body/b.ts -> src/body/c.ts -> src/body/a.ts',
    ])
  })

  it('lets types speak of each other', () => {
    const files = { 'body/a.ts': `import type { B } from './b.ts'`, 'body/b.ts': `import { a } from './a.ts'` }
    expect(checkFloors(sources(files))).toEqual([])
  })

  it('does not take comments and strings for imports', () => {
    const text = `// import '../cli/x.ts'\n/* import '../cli/x.ts' */\nconst url = 'http://x' // from '../cli/x.ts'\n`
    expect(checkFloors(sources({ 'cli/x.ts': '', 'body/a.ts': text }))).toEqual([])
  })

  it('leaves tests alone, but wants to see modules', () => {
    expect(checkFloors(sources({ 'cli/x.ts': '', 'body/a.test.ts': `import '../cli/x.ts'` }))).toEqual([])
    expect(checkFloors(sources({ 'body/a.test.ts': '' }))).toEqual([expect.stringContaining('no modules')])
  })
})

describe('readSources', () => {
  it('reads the files of this repository', async () => {
    const files = await readSources(join(import.meta.dirname, '../../src'))
    expect(files).toContainEqual({ path: 'grpc/transport.ts', text: expect.stringContaining('interface ServerStream') })
  })
})
