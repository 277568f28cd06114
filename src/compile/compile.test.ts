import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from '@jest/globals'
import { stringify } from 'yaml'
import { readTexts } from '../config/object-set.ts'
import { formatProblem } from '../config/problem.ts'
import { type Compiled, type CompileOptions, compile } from './compile.ts'

const folder = fileURLToPath(new URL('testdata/', import.meta.url))
const OPTIONS: CompileOptions = {
  extProc: { addresses: ['127.0.0.1:9002', '127.0.0.1:9003'] },
  accessLogService: { pipes: ['/run/signalbox/als.sock'] },
}

function compileText(text: string, options: CompileOptions = OPTIONS): Compiled {
  const set = readTexts([{ file: 'test.yaml', text }])
  expect(set.errors.map(formatProblem)).toEqual([])
  return compile(set.items, options)
}

/** What the first line of the file asks for: `# golden: routes plan`. */
function render(name: string, text: string): string {
  const result = compileText(text)
  expect(result.errors).toEqual([])
  const parts: Record<string, unknown> = {}
  for (const name of /^# golden: (.*)/.exec(text)![1]!.split(' ')) {
    if (name === 'warnings') parts[name] = result.warnings.map(formatProblem)
    else parts[name] = Reflect.get(result, name) ?? Reflect.get(result.envoy, name)
  }
  const shown = JSON.parse(JSON.stringify(parts), (key, value: unknown) =>
    // The same in every connection manager: one file shows it.
    key === 'localReplyConfig' && name !== 'minimal.yaml' ? {} : value,
  ) as unknown
  return stringify(shown, { aliasDuplicateObjects: false, lineWidth: 0 })
}

describe('golden files', () => {
  // UPDATE_GOLDEN=1 writes them anew; read the difference before you commit it.
  const names = readdirSync(folder).filter(name => name.endsWith('.yaml') && !name.endsWith('.golden.yaml'))
  it.each(names)('%s', name => {
    const text = render(name, readFileSync(folder + name, 'utf8'))
    const golden = folder + name.replace(/\.yaml$/, '.golden.yaml')
    if (process.env['UPDATE_GOLDEN'] === '1') writeFileSync(golden, text)
    expect(text).toBe(readFileSync(golden, 'utf8'))
  })

  it('do not depend on the order of the objects', () => {
    for (const name of names) {
      const text = readFileSync(folder + name, 'utf8')
      const set = readTexts([{ file: 'test.yaml', text }])
      const forwards = compile(set.items, OPTIONS)
      const backwards = compile(set.items.toReversed(), OPTIONS)
      expect(backwards).toEqual(forwards)
    }
  })
})
