/** What the test bed is made of (istiod, kube-apiserver and all around them, Envoy): where it is found, what is missing, how it is built. */
import { spawn } from 'node:child_process'
import { constants } from 'node:fs'
import { access } from 'node:fs/promises'
import { homedir } from 'node:os'
import { delimiter, join, resolve } from 'node:path'
import { resolveEnvoy } from '../../../src/cli/envoy/resolve-envoy.ts'

/** The bed's programs, by the script that builds them. */
const PROGRAMS: Readonly<Record<string, readonly string[]>> = {
  'build-kube.sh': ['etcd', 'kube-apiserver', 'kube-controller-manager', 'kube-scheduler', 'kubectl'],
  'build-istiod.sh': ['pilot-discovery'],
  'build-conformance.sh': ['echo-basic', 'gie-conformance.test'],
}
/** What its scripts run. */
const TOOLS = ['unshare', 'ip', 'mount', 'bash', 'jq', 'openssl', 'curl', 'python3', 'go', 'sed', 'bc']

/** In which everything of the bed runs, as options of `unshare`. */
export const NAMESPACES = ['--net', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc']

export interface Bed {
  /** Folder of the scripts. */
  readonly scripts: string
  /** `$TESTBED`: what was built. */
  readonly built: string
  readonly envoy: string
}

/** Scripts: `$TESTBED_SCRIPTS`, else `../shared/kubernetes` beside the checkout. */
export async function findBed(env: NodeJS.ProcessEnv, checkout: string): Promise<Bed | { readonly missing: string }> {
  const scripts = env['TESTBED_SCRIPTS'] ?? resolve(checkout, '..', 'shared', 'kubernetes')
  const built = env['TESTBED'] ?? join(homedir(), '.cache', 'testbed')
  if (!(await can(join(scripts, 'up.sh'))))
    return { missing: `there are no scripts of a test bed in ${scripts}; TESTBED_SCRIPTS may name another folder` }
  if (process.platform !== 'linux' || process.getuid?.() !== 0)
    return { missing: 'the bed needs Linux and root, for network namespaces' }
  const lacking = (await Promise.all(TOOLS.map(async tool => ((await onPath(env, tool)) ? [] : [tool])))).flat()
  if (lacking.length > 0) return { missing: `the bed needs ${lacking.join(', ')} on the PATH` }
  try {
    return { scripts, built, envoy: (await resolveEnvoy({ env })).path }
  } catch (error) {
    return { missing: (error as Error).message }
  }
}

/** Whether all of it is built, and namespaces of its own can be had here. Undefined: it can run; else why not. */
export async function whyNotReady({ built }: Bed): Promise<string | undefined> {
  for (const program of Object.values(PROGRAMS).flat())
    if (!(await can(join(built, 'bin', program)))) return `${join(built, 'bin', program)} is not built`
  const probe = spawn('unshare', [...NAMESPACES, 'ip', 'link', 'set', 'lo', 'up'], { stdio: 'ignore' })
  const code = await new Promise<number | null>(resolve => {
    probe.once('error', () => resolve(null))
    probe.once('close', resolve)
  })
  return code === 0 ? undefined : 'namespaces are not allowed here'
}

/** Builds what isn't there. Rejects with the script that failed. */
export async function buildBed({ scripts, built }: Bed, onProgress: (line: string) => void): Promise<void> {
  for (const [script, programs] of Object.entries(PROGRAMS)) {
    const there = await Promise.all(programs.map(name => can(join(built, 'bin', name))))
    if (there.every(Boolean)) continue
    onProgress(`building ${programs.join(', ')} with ${join(scripts, script)}; this may take ten minutes ...`)
    const parts = script === 'build-conformance.sh' ? [join(built, 'bin'), 'echo', 'gie'] : []
    await new Promise<void>((done, failed) => {
      const child = spawn(join(scripts, script), parts, {
        env: { ...process.env, TESTBED: built },
        stdio: ['ignore', 'inherit', 'inherit'],
      })
      child.once('error', failed)
      child.once('close', code => (code === 0 ? done() : failed(new Error(`${script} failed (${code})`))))
    })
  }
}

async function onPath(env: NodeJS.ProcessEnv, program: string): Promise<boolean> {
  const folders = (env['PATH'] ?? '').split(delimiter)
  return (await Promise.all(folders.map(folder => can(join(folder, program))))).some(Boolean)
}

function can(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  )
}
