import { spawn } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stringify } from 'yaml'
import type { Manifest } from '../../../src/cli/manifests/manifest.ts'
import type { Bed } from './find-bed.ts'

interface Ran {
  readonly code: number | null
  /** Both streams. */
  readonly output: string
}

/** A bed that is up, in the namespaces of this process. */
export class RunningBed {
  readonly bed: Bed
  /** Of logs and reports. */
  readonly folder: string
  readonly #env: NodeJS.ProcessEnv

  private constructor(bed: Bed, folder: string) {
    this.bed = bed
    this.folder = folder
    this.#env = {
      ...process.env,
      TESTBED: bed.built,
      ENVOY_BIN: bed.envoy,
      KUBECONFIG: join(folder, 'run', 'kubeconfig'),
      PATH: `${join(bed.built, 'bin')}:${process.env['PATH']}`,
      IMAGES: join(folder, 'images.json'),
    }
  }

  /** @param commands parts of image names → what is run in their place, before those of the bed's own list */
  static async start(bed: Bed, commands: Readonly<Record<string, readonly string[]>>): Promise<RunningBed> {
    const folder = await mkdtemp(join(tmpdir(), 'signalbox-bed-'))
    const running = new RunningBed(bed, folder)
    const own = (await readFile(join(bed.scripts, 'images.json'), 'utf8'))
      .replaceAll('@BIN@', join(bed.built, 'bin'))
      .replaceAll('@HERE@', bed.scripts)
    await writeFile(
      join(folder, 'images.json'),
      JSON.stringify({ ...(JSON.parse(own) as Record<string, unknown>), ...commands }),
    )
    // Left open by what goes on running: it must not be a pipe that we wait for.
    const up = await running.run('sh', [
      '-c',
      `"$0" "$1" >"$2" 2>&1`,
      join(bed.scripts, 'up.sh'),
      join(folder, 'run'),
      join(folder, 'up.log'),
    ])
    if (up.code !== 0) throw new Error(`the bed does not start:\n${await readFile(join(folder, 'up.log'), 'utf8')}`)
    return running
  }

  /** Runs a program to its end. Never rejects. */
  run(program: string, args: readonly string[], input?: string, onLine?: (line: string) => void): Promise<Ran> {
    return new Promise(resolve => {
      const child = spawn(program, args, { env: this.#env, stdio: ['pipe', 'pipe', 'pipe'] })
      let output = ''
      let line = ''
      const take = (part: Buffer) => {
        output += part.toString()
        if (onLine === undefined) return
        const lines = (line + part.toString()).split('\n')
        line = lines.pop()!
        for (const each of lines) onLine(each)
      }
      child.stdout.on('data', take)
      child.stderr.on('data', take)
      child.once('error', error => resolve({ code: null, output: `${output}${error.message}` }))
      child.once('close', code => resolve({ code, output }))
      child.stdin.on('error', () => {})
      child.stdin.end(input)
    })
  }

  /** @throws Error with what kubectl said */
  async kubectl(args: readonly string[], input?: string): Promise<string> {
    const { code, output } = await this.run('kubectl', args, input)
    if (code !== 0) throw new Error(`kubectl ${args.join(' ')}: ${output}`)
    return output
  }

  apply(manifests: readonly Manifest[]): Promise<string> {
    return this.kubectl(
      ['apply', '--server-side', '-f', '-'],
      manifests.map(manifest => stringify(manifest)).join('---\n'),
    )
  }

  /** IP → name of the pods with a label. */
  async pods(namespace: string, label: string): Promise<Map<string, string>> {
    const format = 'jsonpath={range .items[*]}{.status.podIP}{" "}{.metadata.name}{"\\n"}{end}'
    const lines = (await this.kubectl(['get', 'pods', '-n', namespace, '-l', label, '-o', format])).trim().split('\n')
    return new Map(lines.map(line => line.split(' ') as [string, string]))
  }

  /** The ends of all of them. */
  async podLogs(): Promise<string> {
    return (await this.run('sh', ['-c', 'tail -n 300 "$0"/run/pods/*.log', this.folder])).output
  }

  /** Everything that it runs ends with the process namespace. */
  async remove(): Promise<void> {
    await this.run(join(this.bed.scripts, 'stop-control-plane.sh'), [join(this.folder, 'run')])
    await rm(this.folder, { recursive: true, force: true })
  }
}
