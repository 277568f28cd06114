/**
 * `npm run test:envoy -- 1.36.4 [jest paths and options]`: the suites on a real Envoy of that version (`all`: of every known one, one
 * after the other). Gets the Envoy by its hash where it isn't in the cache. The embedded data plane's share is left out.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ENVOY_VERSIONS, type EnvoyVersion } from '../src/cli/envoy/envoy-wheel.ts'
import { resolveEnvoy } from '../src/cli/envoy/resolve-envoy.ts'

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)))
const USAGE = `Usage: npm run test:envoy -- VERSION|all [jest paths and options]
VERSION is one of ${ENVOY_VERSIONS.join(', ')}. Without paths: test/envoy.`
/** The suites with this in their names run on no Envoy; `oldest-envoy` brings its own. */
const EMBEDDED = 'embedded data plane'
const OWN_ENVOY = 'oldest-envoy'

let running: ChildProcess | undefined
let interrupted = false
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    interrupted = true
    running?.kill(signal)
  })
}

/** Resolves with a line for people, and whether everything passed. */
async function runSuites(version: EnvoyVersion, args: readonly string[]): Promise<{ ok: boolean; line: string }> {
  const { path } = await resolveEnvoy({ version, onProgress: line => console.log(line) })
  const folder = await mkdtemp(join(tmpdir(), 'signalbox-counts-'))
  const file = join(folder, 'counts.json')
  const hasPath = args.some(arg => !arg.startsWith('-'))
  const jest = ['--experimental-vm-modules', '--disable-warning=ExperimentalWarning', 'node_modules/jest/bin/jest.js']
  jest.push(...(hasPath ? [] : ['test/envoy']), ...args)
  if (!args.some(arg => /^(-t$|--testNamePattern)/.test(arg))) jest.push(`--testNamePattern=^(?!.*${EMBEDDED})`)
  jest.push('--testPathIgnorePatterns=/node_modules/', `--testPathIgnorePatterns=${OWN_ENVOY}`)
  jest.push('--reporters=default', '--reporters=<rootDir>/tools/count-reporter.cjs')
  const env = { ...process.env, SIGNALBOX_ENVOY: path, SIGNALBOX_REQUIRE_ENVOY: '1', SIGNALBOX_TEST_COUNTS: file }
  try {
    const code = await new Promise<number | null>((resolve, reject) => {
      running = spawn(process.execPath, jest, { cwd: ROOT, env, stdio: ['ignore', 'inherit', 'inherit'] })
      running.once('error', reject)
      running.once('close', resolve)
    })
    const counts = JSON.parse(await readFile(file, 'utf8').catch(() => '{}')) as { passed?: number; failed?: number }
    const { passed = 0, failed = 0 } = counts
    const ok = code === 0 && passed > 0
    return {
      ok,
      line: `Envoy ${version}: ${passed} passed, ${failed} failed${ok || failed > 0 ? '' : ' (jest failed)'}`,
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

const [wanted, ...args] = process.argv.slice(2)
const versions = wanted === 'all' ? ENVOY_VERSIONS : ENVOY_VERSIONS.filter(version => version === wanted)
if (versions.length === 0) {
  console.error(USAGE)
  process.exitCode = 2
}
const lines: string[] = []
for (const version of versions) {
  if (interrupted) break
  try {
    const { ok, line } = await runSuites(version, args)
    lines.push(line)
    if (!ok) process.exitCode = 1
  } catch (error) {
    lines.push(`Envoy ${version}: ${(error as Error).message}`)
    process.exitCode = 1
  }
}
for (const line of lines) console.log(line)
if (interrupted) process.exitCode = 130
