/**
 * `npm test`: every check of the repository, then the tests. The last line is `N passed, N failed[, N skipped]`: jest's counts plus
 * one for each static check. With arguments: only the tests, and jest gets the arguments (`npm test -- src/body`).
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { resolveEnvoy } from '../src/cli/envoy/resolve-envoy.ts'
import { findBed, whyNotReady } from '../test/kubernetes/bed/find-bed.ts'

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)))
const BIN = join(ROOT, 'node_modules', '.bin')
const NODE = process.execPath
/** As many processes as the smallest machine has cores. */
const PARALLEL = 2
/** A static check that takes longer hangs. */
const STEP_LIMIT_MS = 600_000
/** Under the limits of usual CI systems, so that a hanging suite is reported rather than cut off. */
const JEST_LIMIT_MS = 70 * 60_000

interface Step {
  readonly name: string
  readonly program: string
  readonly args: readonly string[]
}

/** GIE's conformance suite, and the plug's and one-hop's manifests: five minutes. */
const BED: Step = { name: 'test bed', program: NODE, args: ['tools/test-bed.ts'] }
const BED_LIMIT_MS = 15 * 60_000
const SKIPPED = 77

const STATIC_STEPS: readonly Step[] = [
  { name: 'type check', program: NODE, args: ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.json'] },
  { name: 'lint', program: join(BIN, 'oxlint'), args: ['--type-aware', '--deny-warnings'] },
  { name: 'format', program: join(BIN, 'biome'), args: ['format', '.'] },
  { name: 'dead code', program: join(BIN, 'knip'), args: ['--no-progress'] },
  { name: 'dependency rule', program: NODE, args: ['tools/check-floors.ts'] },
  { name: 'proto lint', program: join(BIN, 'buf'), args: ['lint'] },
]

interface Counts {
  passed: number
  failed: number
  skipped: number
}

const running = new Set<ChildProcess>()
/** Aborted by a signal: what is running is ended, nothing new is started. */
const interrupt = new AbortController()

interface Finished {
  readonly ok: boolean
  readonly code: number | null
  /** Empty when the output was passed through. */
  readonly output: string
  readonly seconds: string
}

/** Runs a program in the root folder, collecting its output or passing it through. Never throws. */
function run(step: Step, limitMs: number, passThrough: boolean, env: NodeJS.ProcessEnv): Promise<Finished> {
  const start = performance.now()
  return new Promise(resolve => {
    const output: Buffer[] = []
    const child = spawn(step.program, step.args, {
      cwd: ROOT,
      env,
      stdio: ['ignore', passThrough ? 'inherit' : 'pipe', passThrough ? 'inherit' : 'pipe'],
    })
    running.add(child)
    const timer = setTimeout(() => {
      output.push(Buffer.from(`\n${step.name}: ended after ${limitMs / 60_000} minutes\n`))
      child.kill('SIGKILL')
    }, limitMs)
    child.stdout?.on('data', (part: Buffer) => output.push(part))
    child.stderr?.on('data', (part: Buffer) => output.push(part))
    const finish = (code: number | null): void => {
      clearTimeout(timer)
      running.delete(child)
      const seconds = ((performance.now() - start) / 1000).toFixed(1)
      resolve({ ok: code === 0, code, output: Buffer.concat(output).toString(), seconds })
    }
    child.once('error', error => {
      output.push(Buffer.from(`${step.program}: ${error.message}\n`))
      finish(null)
    })
    child.once('close', finish)
  })
}

async function runStaticSteps(counts: Counts): Promise<void> {
  const waiting = [...STATIC_STEPS]
  const worker = async (): Promise<void> => {
    for (let step = waiting.shift(); step !== undefined && !interrupt.signal.aborted; step = waiting.shift()) {
      const { ok, output, seconds } = await run(step, STEP_LIMIT_MS, false, { ...process.env, NO_COLOR: '1' })
      if (ok) counts.passed++
      else counts.failed++
      console.log(`${ok ? 'ok    ' : 'FAILED'} ${step.name} (${seconds} s)`)
      if (!ok) console.log(indent(output))
    }
  }
  await Promise.all(Array.from({ length: PARALLEL }, worker))
}

function indent(text: string): string {
  return text.trimEnd().replace(/^/gm, '       ')
}

/** Finds or fetches the Envoy before jest's workers would do so side by side, and says which. */
async function announceEnvoy(): Promise<void> {
  try {
    const { path, version } = await resolveEnvoy({ onProgress: line => console.log(`       ${line}`) })
    console.log(`ok     Envoy ${version} (${path})`)
  } catch (error) {
    console.log(`NONE   suites on a real Envoy will be skipped\n${indent((error as Error).message)}`)
  }
}

async function runJest(args: readonly string[], counts: Counts): Promise<readonly string[]> {
  const folder = await mkdtemp(join(tmpdir(), 'signalbox-counts-'))
  const file = join(folder, 'counts.json')
  try {
    const jest = ['--experimental-vm-modules', '--disable-warning=ExperimentalWarning', 'node_modules/jest/bin/jest.js']
    // Ours last: jest takes words behind an array option for more of its values.
    jest.push(...args, '--reporters=default', '--reporters=<rootDir>/tools/count-reporter.cjs')
    const env = { ...process.env, SIGNALBOX_TEST_COUNTS: file }
    const { ok, output } = await run({ name: 'tests', program: NODE, args: jest }, JEST_LIMIT_MS, true, env)
    if (output !== '') console.log(output.trim())
    const text = await readFile(file, 'utf8').catch(() => undefined)
    if (text === undefined) {
      console.log('FAILED tests: jest ended without counts')
      counts.failed++
      return []
    }
    const result = JSON.parse(text) as Counts & { skippedNames: readonly string[] }
    counts.passed += result.passed
    counts.failed += result.failed
    counts.skipped += result.skipped
    if (!ok && result.failed === 0) {
      console.log('FAILED tests: jest ended with an error although no test failed')
      counts.failed++
    }
    if (result.passed + result.failed === 0) {
      console.log('FAILED tests: none was run')
      counts.failed++
    }
    return result.skippedNames
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** The test bed, where all of it is built (`npm run test:kubernetes` builds it); elsewhere what was not tested is said. */
async function runBed(counts: Counts): Promise<void> {
  const found = await findBed(process.env, ROOT)
  const missing = 'missing' in found ? found.missing : await whyNotReady(found)
  if (missing !== undefined) {
    console.log(`NONE   GIE's conformance suite and the generated manifests were NOT run\n${indent(missing)}`)
    return
  }
  const { ok, code, output, seconds } = await run(BED, BED_LIMIT_MS, false, process.env)
  if (code === SKIPPED) counts.skipped++
  else if (ok) counts.passed++
  else counts.failed++
  console.log(
    `${ok ? 'ok    ' : code === SKIPPED ? 'SKIPPED' : 'FAILED'} ${BED.name} (${seconds} s)\n${indent(output)}`,
  )
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    interrupt.abort()
    for (const child of running) child.kill(signal)
  })
}

const counts: Counts = { passed: 0, failed: 0, skipped: 0 }
const args = process.argv.slice(2)
if (args.length === 0) await runStaticSteps(counts)
if (!interrupt.signal.aborted) await announceEnvoy()
const skipped = interrupt.signal.aborted ? [] : await runJest(args, counts)
if (args.length === 0 && !interrupt.signal.aborted) await runBed(counts)
if (skipped.length > 0) console.log(`\nSKIPPED (${skipped.length}):\n${skipped.map(name => `  - ${name}`).join('\n')}`)
if (interrupt.signal.aborted) {
  console.log('interrupted')
  counts.failed++
}
process.exitCode = counts.failed === 0 ? 0 : 1
console.log(
  `${counts.passed} passed, ${counts.failed} failed${counts.skipped > 0 ? `, ${counts.skipped} skipped` : ''}`,
)
