/**
 * `npm run test:kubernetes [-- jest paths and options]`: the suites against a real kube-apiserver and etcd. They are taken from
 * `$KUBEBUILDER_ASSETS` or from the cache; where neither has them, they are built with Go (ten minutes, once).
 */
import { spawn } from 'node:child_process'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildControlPlane, findControlPlane } from '../test/kubernetes/control-plane-binaries.ts'

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)))

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
  process.exit(77)
}
const args = process.argv.slice(2)
const jest = ['--experimental-vm-modules', '--disable-warning=ExperimentalWarning', 'node_modules/jest/bin/jest.js']
const paths = args.some(arg => !arg.startsWith('-')) ? [] : ['test/kubernetes']
const child = spawn(process.execPath, [...jest, ...paths, ...args], {
  cwd: ROOT,
  env: { ...process.env, KUBEBUILDER_ASSETS: dirname(binaries.etcd) },
  stdio: 'inherit',
})
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal))
child.once('close', code => (process.exitCode = code ?? 1))
