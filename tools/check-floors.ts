/**
 * The dependency rule of CONTRIBUTING.md: imports only point down the floors, never around in a circle, and never into tests.
 * `import type` obeys the floors too (what a type tells is knowledge), but may close a circle: two types may speak of each other.
 * Run by `npm test`; alone: `node tools/check-floors.ts`.
 */
import { readdir, readFile } from 'node:fs/promises'
import { dirname, join, posix, relative, sep } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

/** From the bottom up. A folder may import folders of lower floors, and its own files. */
const FLOORS: readonly (readonly string[])[] = [
  ['gen'],
  ['config', 'telemetry', 'grpc', 'body'],
  ['extproc'],
  ['inference', 'llm', 'mcp', 'a2a', 'policy'],
  ['pipeline'],
  ['compile'],
  ['xds', 'kubernetes', 'admin', 'peers'],
  ['threads'],
  ['cli'],
]
/** The ground floor's folders may import each other. */
const GROUND = new Set(FLOORS[1])
/** Beside the floors: these import the ground and generated code only, and only `cli` imports them. */
const ASIDE = new Set(['embedded', 'sim'])
const LEVEL = new Map(FLOORS.flatMap((folders, level) => folders.map(folder => [folder, level] as const)))

/** One module: its path below `src` with forward slashes, and its text. */
export interface SourceFile {
  readonly path: string
  readonly text: string
}

/** All violations, one line each; empty = the rule holds. */
export function checkFloors(files: readonly SourceFile[]): readonly string[] {
  const modules = files.filter(file => !isTest(file.path))
  if (modules.length === 0) return ['no modules were found: is this the right folder?']
  const violations: string[] = []
  const graph = new Map<string, readonly string[]>()
  const known = new Set(files.map(file => file.path))
  for (const { path, text } of modules) {
    const targets: string[] = []
    for (const { specifier, line, typeOnly } of importsOf(text)) {
      if (!specifier.startsWith('.')) continue
      const target = posix.normalize(posix.join(posix.dirname(path), specifier))
      const reason = violationOf(path, target, known)
      if (reason === undefined && !typeOnly) targets.push(target)
      if (reason !== undefined) violations.push(`src/${path}:${line}: imports ${specifier}: ${reason}`)
    }
    graph.set(path, targets)
  }
  for (const cycle of findCycles(graph))
    violations.push(`import cycle: ${cycle.map(path => `src/${path}`).join(' -> ')}`)
  return violations
}

function isTest(path: string): boolean {
  return path.endsWith('.test.ts')
}

function violationOf(from: string, to: string, known: ReadonlySet<string>): string | undefined {
  if (to.startsWith('..')) return 'that is outside src'
  if (isTest(to)) return 'that is a test'
  if (!known.has(to)) return 'there is no such file'
  const [source, target] = [folderOf(from), folderOf(to)]
  if (source === target) return undefined
  const level = LEVEL.get(source)
  const targetLevel = LEVEL.get(target)
  if (level === undefined && !ASIDE.has(source)) return `folder ${source} has no floor (tools/check-floors.ts)`
  if (targetLevel === undefined && !ASIDE.has(target)) return `folder ${target} has no floor (tools/check-floors.ts)`
  if (ASIDE.has(target)) return source === 'cli' ? undefined : `only cli may use ${target}`
  if (ASIDE.has(source)) {
    return target === 'gen' || GROUND.has(target) ? undefined : `${source} may use the ground floor and gen only`
  }
  if (GROUND.has(source) && GROUND.has(target)) return undefined
  return targetLevel! < level! ? undefined : `${source} is not above ${target}`
}

/** The top folder below `src`; files directly in it count as a folder of their own name. */
function folderOf(path: string): string {
  return path.split('/')[0]!
}

interface Import {
  readonly specifier: string
  /** From 1. */
  readonly line: number
  readonly typeOnly: boolean
}

/** Module names in import and export statements and in `import()`. Comments don't count. */
function importsOf(text: string): readonly Import[] {
  // Comments become blanks of the same length, so that positions stay. Strings are stepped over, as they may hold `//`.
  const code = text.replace(/\/\*[^]*?\*\/|\/\/[^\n]*|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"/g, match =>
    match.startsWith('/') ? match.replace(/[^\n]/g, ' ') : match,
  )
  const pattern =
    /(?:^|[\n;])\s*(?:import|export)\b[^'"`;=()]*?\bfrom\s*(['"])(.+?)\1|(?:^|[\n;])\s*import\s*(['"])(.+?)\3|\bimport\s*\(\s*(['"])(.+?)\5/g
  return [...code.matchAll(pattern)].map(match => {
    const specifier = (match[2] ?? match[4] ?? match[6])!
    const position = match.index + match[0].lastIndexOf(specifier)
    const typeOnly = /^[\s;]*(?:import|export)\s+type\b/.test(match[0])
    return { specifier, line: code.slice(0, position).split('\n').length, typeOnly }
  })
}

/** One cycle for each group of files that import each other in a circle; the first file is repeated at the end. */
function findCycles(graph: ReadonlyMap<string, readonly string[]>): readonly (readonly string[])[] {
  const cycles: (readonly string[])[] = []
  const done = new Set<string>()
  const path: string[] = []
  const visit = (file: string): void => {
    const at = path.indexOf(file)
    if (at >= 0) {
      cycles.push([...path.slice(at), file])
      return
    }
    if (done.has(file)) return
    path.push(file)
    for (const target of graph.get(file) ?? []) visit(target)
    path.pop()
    done.add(file)
  }
  for (const file of graph.keys()) visit(file)
  return cycles
}

/** All TypeScript files below a folder. */
export async function readSources(folder: string): Promise<readonly SourceFile[]> {
  const names = await readdir(folder, { recursive: true })
  const paths = names.filter(name => name.endsWith('.ts'))
  return Promise.all(
    paths.map(async name => ({
      path: relative(folder, join(folder, name)).split(sep).join('/'),
      text: await readFile(join(folder, name), 'utf8'),
    })),
  )
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const root = dirname(dirname(fileURLToPath(import.meta.url)))
  const files = await readSources(join(root, 'src'))
  const violations = checkFloors(files)
  for (const violation of violations) console.error(violation)
  console.log(`${files.length} files, ${violations.length} violations`)
  process.exitCode = violations.length === 0 ? 0 : 1
}
