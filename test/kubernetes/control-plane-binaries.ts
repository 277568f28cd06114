/** etcd and kube-apiserver: where they are found, and how they are built with Go, from the Go module proxy alone. */
import { constants } from 'node:fs'
import { access, mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { cacheFolders, firstWritable } from '../../src/cli/envoy/envoy-cache.ts'
import { runProgram } from '../../src/cli/envoy/run-program.ts'

const VERSION = '1.35.4'
const NAMES = ['etcd', 'kube-apiserver'] as const
/** A cold build compiles for ten minutes on two cores. */
const BUILD_MS = 30 * 60_000

export interface ControlPlaneBinaries {
  readonly etcd: string
  readonly apiserver: string
}

/** Of the folder `$KUBEBUILDER_ASSETS`, else those that were built before. Undefined: there are none. */
export async function findControlPlane(
  env: NodeJS.ProcessEnv,
  checkout: string,
): Promise<ControlPlaneBinaries | undefined> {
  const assets = env['KUBEBUILDER_ASSETS']
  const folders = assets !== undefined && assets !== '' ? [assets] : buildFolders(env, checkout)
  for (const folder of folders) {
    const paths = NAMES.map(name => join(folder, name))
    const there = await Promise.all(
      paths.map(path =>
        access(path, constants.X_OK).then(
          () => true,
          () => false,
        ),
      ),
    )
    if (there.every(Boolean)) return { etcd: paths[0]!, apiserver: paths[1]! }
  }
  return undefined
}

/** Builds both into the cache folder. Rejects with the reason. */
export async function buildControlPlane(
  env: NodeJS.ProcessEnv,
  checkout: string,
  onProgress: (line: string) => void,
): Promise<ControlPlaneBinaries> {
  const { folder, failures } = await firstWritable(buildFolders(env, checkout))
  if (folder === undefined) throw new Error(`no folder to build into: ${failures.join('; ')}`)
  const module = join(folder, 'module')
  await mkdir(join(module, 'etcd'), { recursive: true })
  const goEnv = { ...env, CGO_ENABLED: '0', GOFLAGS: '-mod=mod' }
  const go = async (args: readonly string[]): Promise<string> => {
    // Other work on the machine goes first.
    const ran = await runProgram('nice', ['-n', '15', 'go', '-C', module, ...args], {
      env: goEnv,
      timeoutMs: BUILD_MS,
    })
    if (ran.code !== 0) throw new Error(`go ${args[0]} failed: ${ran.failure}`)
    return ran.stdout
  }
  await writeFile(join(module, 'go.mod'), 'module local/kubernetes\n')
  const downloaded = JSON.parse(await go(['mod', 'download', '-json', `k8s.io/kubernetes@v${VERSION}`])) as {
    readonly GoMod: string
  }
  await writeFile(join(module, 'go.mod'), await ownModule(downloaded.GoMod))
  await writeFile(
    join(module, 'tools.go'),
    '//go:build tools\n\npackage tools\n\nimport _ "k8s.io/kubernetes/cmd/kube-apiserver"\n',
  )
  // etcd's own command is a module of its own with other pins; this is all that it does.
  await writeFile(
    join(module, 'etcd', 'main.go'),
    'package main\n\nimport (\n\t"os"\n\n\t"go.etcd.io/etcd/server/v3/etcdmain"\n)\n\nfunc main() { etcdmain.Main(os.Args) }\n',
  )
  const flags = versionFlags()
  for (const [name, path] of [
    ['etcd', './etcd'],
    ['kube-apiserver', 'k8s.io/kubernetes/cmd/kube-apiserver'],
  ] as const) {
    onProgress(`building ${name} (of Kubernetes ${VERSION}) ...`)
    await go(['build', '-trimpath', '-ldflags', flags, '-o', join(folder, `${name}.new`), path])
    await rename(join(folder, `${name}.new`), join(folder, name))
  }
  return { etcd: join(folder, 'etcd'), apiserver: join(folder, 'kube-apiserver') }
}

/**
 * Kubernetes' go.mod as ours, so that the pins are the same: `replace` lines that point into its tree point at what is published
 * of those folders instead (v1.35.4 is v0.35.4 there).
 */
async function ownModule(goMod: string): Promise<string> {
  const text = (await readFile(goMod, 'utf8'))
    .replace(/^module .*$/m, 'module local/kubernetes')
    .replace(/=> \.\/staging\/src\/(k8s\.io\/[a-z0-9.-]+)/g, `=> $1 v${VERSION.replace(/^1\./, '0.')}`)
  return `${text}\nrequire k8s.io/kubernetes v${VERSION}\n`
}

/** The API server tells its version, and behaves by it. */
function versionFlags(): string {
  const [major, minor] = VERSION.split('.')
  const set = (name: string, value: string) => `-X k8s.io/component-base/version.${name}=${value}`
  return [
    '-s -w',
    set('gitVersion', `v${VERSION}`),
    set('gitMajor', major!),
    set('gitMinor', minor!),
    set('gitTreeState', 'clean'),
    `-X k8s.io/client-go/pkg/version.gitVersion=v${VERSION}`,
  ].join(' ')
}

/** Beside the Envoys. */
function buildFolders(env: NodeJS.ProcessEnv, checkout: string): readonly string[] {
  return cacheFolders(env, checkout).map(envoys => join(dirname(envoys), 'kubernetes', VERSION))
}
