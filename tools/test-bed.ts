/**
 * `npm run test:bed [-- plug|conformance]`: Signalbox in a cluster of real parts: istiod, kube-apiserver, controller-manager, scheduler, Envoys as its
 * gateways. The manifests that `signalbox manifests` makes carry real requests, and GIE's conformance suite runs with Signalbox as the endpoint picker.
 * Everything runs in network, mount and process namespaces of its own, and is gone with them. Exit status 77: there can be no bed here.
 */
import { spawn } from 'node:child_process'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildBed, findBed, NAMESPACES } from '../test/kubernetes/bed/find-bed.ts'

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)))
/** The machine's own rules for forwarded packets apply to bridges too: here there are none. `ip netns` keeps its names in /run/netns. */
const INSIDE = [
  'ip link set lo up',
  'mkdir -p /run/netns',
  'mount -t tmpfs none /run/netns',
  // Names of Services, as far as somebody needs them: there is no cluster DNS.
  'cp /etc/hosts /run/netns/.hosts',
  'mount --bind /run/netns/.hosts /etc/hosts',
  'exec "$@"',
].join(' && ')

const found = await findBed(process.env, ROOT)
if ('missing' in found) skip(found.missing)
try {
  await buildBed(found, line => console.log(line))
} catch (error) {
  skip((error as Error).message)
}
const inside = join(ROOT, 'test', 'kubernetes', 'bed', 'inside.ts')
const evidence = join(tmpdir(), `signalbox-bed-failed-${process.pid}`)
const child = spawn(
  'unshare',
  [
    ...NAMESPACES,
    'sh',
    '-c',
    INSIDE,
    'sh',
    process.execPath,
    inside,
    JSON.stringify(found),
    evidence,
    ...process.argv.slice(2),
  ],
  { cwd: ROOT, stdio: ['ignore', 'inherit', 'inherit'] },
)
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill('SIGKILL'))
child.once('close', code => (process.exitCode = code ?? 1))

function skip(reason: string): never {
  console.error(
    `SKIPPED: there is no test bed, so GIE's conformance suite and the manifests of an Istio gateway were NOT tested.\n  ${reason}`,
  )
  // Nothing was shown to be right or wrong.
  process.exit(77)
}
