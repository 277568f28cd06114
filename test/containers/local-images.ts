/**
 * Base images made here, for machines that reach no image registry: a minimal Debian by debootstrap, with this checkout's Node.js
 * and an npm (laid out as in the official node images), and one with the Envoy binary.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFile, cp, mkdir, readdir, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { runProgram } from '../../src/cli/envoy/run-program.ts'
import type { EnvoyBinary } from '../../src/cli/envoy/resolve-envoy.ts'

const NPM_VERSION = '11.19.1'
const CA_BUNDLE = '/etc/ssl/certs/ca-certificates.crt'

export interface BaseImages {
  readonly node: string
  readonly envoy: string
}

/** Runs a program to its end. @throws {Error} with what it wrote, when it fails */
export async function must(program: string, ...args: string[]): Promise<string> {
  const result = await runProgram(program, args, { timeoutMs: 600_000 })
  if (result.code === 0) return result.stdout
  throw new Error(`${program} ${args.join(' ')}: ${result.failure}\n${result.stdout}\n${result.stderr}`)
}

/** Whether this machine can make base images. */
export async function canMakeBaseImages(): Promise<boolean> {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return false
  return (await runProgram('debootstrap', ['--version'], { timeoutMs: 10_000 })).code === 0
}

/**
 * Makes the two images in the engine of DOCKER_HOST, unless it has them. Needs root and debootstrap; takes half a minute.
 * @param folder an empty folder for the root file system; the caller removes it
 */
export async function makeBaseImages(folder: string, envoy: EnvoyBinary): Promise<BaseImages> {
  const images = {
    node: `signalbox-test/node:${process.versions.node}`,
    envoy: `signalbox-test/envoy:${envoy.version}`,
  }
  if (await hasImages(Object.values(images))) return images
  const root = join(folder, 'root')
  await must('debootstrap', '--variant=minbase', 'trixie', root)
  await mkdir(join(root, 'etc/ssl/certs'), { recursive: true })
  // The CAs of this machine, which may be behind a proxy with one of its own.
  await copyFile(CA_BUNDLE, join(root, CA_BUNDLE))

  const envoyPath = join(root, 'usr/local/bin/envoy')
  await copyFile(envoy.path, envoyPath)
  await importImage(root, images.envoy, [])
  await rm(envoyPath)

  await copyFile(process.execPath, join(root, 'usr/local/bin/node'))
  const npm = join(root, 'usr/local/lib/node_modules/npm')
  await unpackNpm(join(folder, 'npm'), npm)
  await must('ln', '-s', '../lib/node_modules/npm/bin/npm-cli.js', join(root, 'usr/local/bin/npm'))
  await importImage(root, images.node, ['--change', `ENV NODE_EXTRA_CA_CERTS=${CA_BUNDLE}`])
  return images
}

async function hasImages(images: readonly string[]): Promise<boolean> {
  return (await runProgram('docker', ['image', 'inspect', ...images], { timeoutMs: 30_000 })).code === 0
}

/** `npm install` rather than `npm pack`, which leaves unpacking to the caller. */
async function unpackNpm(work: string, target: string): Promise<void> {
  await mkdir(work, { recursive: true })
  await must('npm', 'install', '--prefix', work, '--no-save', '--no-audit', '--no-fund', `npm@${NPM_VERSION}`)
  await mkdir(dirname(target), { recursive: true })
  await cp(join(work, 'node_modules/npm'), target, { recursive: true })
  if (!(await readdir(target)).includes('bin')) throw new Error('npm was not unpacked')
}

/** Root file system → image, through a pipe: a tar file of it would be half a gigabyte. */
async function importImage(root: string, name: string, changes: readonly string[]): Promise<void> {
  const tar = spawn('tar', ['-C', root, '--one-file-system', '-c', '.'], { stdio: ['ignore', 'pipe', 'inherit'] })
  const docker = spawn('docker', ['import', ...changes, '-', name], { stdio: [tar.stdout, 'ignore', 'inherit'] })
  const [[tarCode], [dockerCode]] = (await Promise.all([once(tar, 'exit'), once(docker, 'exit')])) as [
    number[],
    number[],
  ]
  if (tarCode !== 0 || dockerCode !== 0) throw new Error(`docker import ${name}: tar ${tarCode}, docker ${dockerCode}`)
}
