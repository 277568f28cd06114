/**
 * `npm run test:kubernetes [-- jest paths and options]`: the suites against a real kube-apiserver and etcd. They are taken from
 * `$KUBEBUILDER_ASSETS` or from the cache; where neither has them, they are built with Go (ten minutes, once). Then, unless there are
 * arguments, the test bed (./test-bed.ts): GIE's conformance suite and real gateways, where there can be one.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildControlPlane, findControlPlane } from '../test/kubernetes/control-plane-binaries.ts'

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)))
const SKIPPED = 77

const assets = process.env['KUBEBUILDER_ASSETS']
let binaries = await findControlPlane(process.env, ROOT)
if (binaries === undefined && assets !== undefined && assets !== '') {
  console.error(`KUBEBUILDER_ASSETS: ${assets} has no etcd and kube-apiserver`)
  process.exit(1)
}
try {
  binaries ??= await buildControlPlane(process.env, ROOT, line => console.log(line))
} catch (error) {
  console.error(`SKIPPED: no kube-apiserver and etcd, so nothing was tested against a real API server.
  ${(error as Error).message}
  Set KUBEBUILDER_ASSETS to a folder that has both, or install Go (1.26 or newer) and let it reach its module proxy.`)
  // Nothing was shown to be right or wrong.
  process.exit(SKIPPED)
}
const args = process.argv.slice(2)
const jest = ['--experimental-vm-modules', '--disable-warning=ExperimentalWarning', 'node_modules/jest/bin/jest.js']
const paths = args.some(arg => !arg.startsWith('-')) ? [] : ['test/kubernetes']
let running: ChildProcess | undefined
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => running?.kill(signal))

const suites = await run([...jest, ...paths, ...args])
if (suites !== 0 || args.length > 0) process.exit(suites)
const bed = await run([join(ROOT, 'tools', 'test-bed.ts')])
// What was skipped has said so; the suites have passed.
process.exit(bed === SKIPPED ? 0 : bed)

/** Resolves with the exit status. */
async function run(argv: readonly string[]): Promise<number> {
  running = spawn(process.execPath, argv, {
    cwd: ROOT,
    // The long way, where `npm test` takes the short one.
    env: {
      SIGNALBOX_OUTAGE_MS: '60000',
      SIGNALBOX_CHURN_PODS: '10000',
      ...process.env,
      KUBEBUILDER_ASSETS: dirname(binaries!.etcd),
    },
    stdio: 'inherit',
  })
  const [code] = (await once(running, 'close')) as [number | null]
  return code ?? 1
}
