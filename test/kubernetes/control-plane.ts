import { type ChildProcess, spawn } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { openSync, closeSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Agent, request } from 'undici'
import { parseAllDocuments } from 'yaml'
import { selfSigned } from '../../src/grpc/self-signed.ts'
import { freePort } from '../support/free-ports.ts'
import { makeTempFolder, type TempFolder } from '../support/temp-folder.ts'
import { waitFor } from '../support/wait-for.ts'
import type { ControlPlaneBinaries } from './control-plane-binaries.ts'

export const ADMIN_TOKEN = 'admin-token'
export const SIGNALBOX_TOKEN = 'signalbox-token'
const START_MS = 60_000

interface Manifest {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly [field: string]: unknown }
  readonly [field: string]: unknown
}

/** A real etcd and kube-apiserver with nothing else: no controllers, no kubelets. Stop it in `afterAll`. */
export class ControlPlane {
  readonly #binaries: ControlPlaneBinaries
  readonly #folder: TempFolder
  readonly #ports: readonly [number, number, number]
  readonly #agent: Agent
  #etcd: ChildProcess | undefined
  #apiserver: ChildProcess | undefined

  private constructor(
    binaries: ControlPlaneBinaries,
    folder: TempFolder,
    ports: readonly [number, number, number],
    ca: string,
  ) {
    this.#binaries = binaries
    this.#folder = folder
    this.#ports = ports
    this.#agent = new Agent({ connect: { ca } })
  }

  static async start(binaries: ControlPlaneBinaries): Promise<ControlPlane> {
    const folder = await makeTempFolder()
    const { cert, key } = selfSigned(['127.0.0.1', 'localhost', 'kubernetes.default.svc'])
    const accounts = generateKeyPairSync('rsa', {
      modulusLength: 2048,
      publicKeyEncoding: { type: 'spki', format: 'pem' },
      privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    })
    const ports = [await freePort(), await freePort(), await freePort()] as const
    const files: Readonly<Record<string, string>> = {
      'server.crt': cert,
      'server.key': key,
      'sa.key': accounts.privateKey,
      'sa.pub': accounts.publicKey,
      'tokens.csv': `${ADMIN_TOKEN},admin,admin,system:masters\n${SIGNALBOX_TOKEN},system:serviceaccount:signalbox:signalbox,signalbox,\n`,
      kubeconfig: JSON.stringify({
        apiVersion: 'v1',
        kind: 'Config',
        clusters: [
          { name: 't', cluster: { server: `https://127.0.0.1:${ports[0]}`, 'certificate-authority': 'server.crt' } },
        ],
        users: [{ name: 'signalbox', user: { token: SIGNALBOX_TOKEN } }],
        contexts: [{ name: 't', context: { cluster: 't', user: 'signalbox' } }],
        'current-context': 't',
      }),
    }
    for (const [name, text] of Object.entries(files)) await writeFile(join(folder.path, name), text)
    const plane = new ControlPlane(binaries, folder, ports, cert)
    plane.#startEtcd()
    await plane.startApiServer()
    return plane
  }

  /** With the rights that deploy/kubernetes/rbac.yaml gives, once that is applied. */
  get kubeconfig(): string {
    return join(this.#folder.path, 'kubeconfig')
  }

  async startApiServer(): Promise<void> {
    const [port, etcd] = this.#ports
    this.#apiserver = this.#spawn('apiserver', this.#binaries.apiserver, [
      `--etcd-servers=http://127.0.0.1:${etcd}`,
      '--bind-address=127.0.0.1',
      '--advertise-address=127.0.0.1',
      `--secure-port=${port}`,
      `--cert-dir=${this.#folder.path}`,
      '--tls-cert-file=server.crt',
      '--tls-private-key-file=server.key',
      '--token-auth-file=tokens.csv',
      '--service-account-issuer=https://kubernetes.default.svc',
      '--service-account-key-file=sa.pub',
      '--service-account-signing-key-file=sa.key',
      '--service-cluster-ip-range=10.96.0.0/16',
      '--authorization-mode=RBAC',
      '--disable-admission-plugins=ServiceAccount',
    ])
    await waitFor('the API server', async () => (await this.#send('GET', '/readyz')) === 200, {
      timeoutMs: START_MS,
      intervalMs: 100,
    }).catch(async (error: unknown) => {
      const log = await readFile(join(this.#folder.path, 'apiserver.log'), 'utf8')
      throw new Error(`${String(error)}\n${log.split('\n').slice(-15).join('\n')}`, { cause: error })
    })
  }

  /** As a crash does it. */
  async killApiServer(): Promise<void> {
    await end(this.#apiserver, 'SIGKILL')
    this.#apiserver = undefined
  }

  async stop(): Promise<void> {
    await this.killApiServer()
    await end(this.#etcd, 'SIGKILL')
    await this.#agent.destroy()
    await this.#folder.remove()
  }

  /** Makes objects of YAML documents. CRDs are waited for. */
  async create(yaml: string): Promise<void> {
    for (const document of parseAllDocuments(yaml)) {
      const manifest = document.toJS() as Manifest | null
      if (manifest === null) continue
      const path = collectionOf(manifest)
      // A namespace or a CRD that was just made may not be known everywhere yet.
      await waitFor(`${manifest.kind} ${manifest.metadata.name}`, async () => {
        const status = await this.#send('POST', path, manifest)
        return status === 201 || status === 409
      })
    }
  }

  /** What the server says against each object of YAML documents, strictly read; nothing is made. */
  async faultsOf(yaml: string): Promise<string[]> {
    const faults: string[] = []
    for (const document of parseAllDocuments(yaml)) {
      const manifest = document.toJS() as Manifest
      const path = `${collectionOf(manifest)}?dryRun=All&fieldValidation=Strict`
      const { status, text } = await this.#ask('POST', path, manifest)
      if (status !== 201) faults.push(`${manifest.kind} ${manifest.metadata.name}: ${status} ${text}`)
    }
    return faults
  }

  /** What stands at a path, from the API's root on. */
  async read(path: string): Promise<unknown> {
    const { status, text } = await this.#ask('GET', path)
    if (status !== 200) throw new Error(`GET ${path}: ${status}`)
    return JSON.parse(text) as unknown
  }

  /** Merges into an object: RFC 7396. `path` from the API's root on. */
  async patch(path: string, change: unknown): Promise<void> {
    const status = await this.#send('PATCH', path, change, 'application/merge-patch+json')
    if (status !== 200) throw new Error(`PATCH ${path}: ${status}`)
  }

  async remove(path: string): Promise<void> {
    const status = await this.#send('DELETE', `${path}?gracePeriodSeconds=0`)
    if (status !== 200) throw new Error(`DELETE ${path}: ${status}`)
  }

  async #send(method: 'GET' | 'POST' | 'PATCH' | 'DELETE', path: string, body?: unknown, type?: string) {
    return (await this.#ask(method, path, body, type)).status
  }

  async #ask(method: 'GET' | 'POST' | 'PATCH' | 'DELETE', path: string, body?: unknown, type = 'application/json') {
    const { statusCode, body: answer } = await request(`https://127.0.0.1:${this.#ports[0]}${path}`, {
      method,
      dispatcher: this.#agent,
      headers: { authorization: `Bearer ${ADMIN_TOKEN}`, 'content-type': type },
      body: body === undefined ? null : JSON.stringify(body),
    })
    return { status: statusCode, text: await answer.text() }
  }

  #startEtcd(): void {
    const [, clients, peers] = this.#ports
    this.#etcd = this.#spawn('etcd', this.#binaries.etcd, [
      `--data-dir=${join(this.#folder.path, 'etcd')}`,
      `--listen-client-urls=http://127.0.0.1:${clients}`,
      `--advertise-client-urls=http://127.0.0.1:${clients}`,
      `--listen-peer-urls=http://127.0.0.1:${peers}`,
      `--initial-advertise-peer-urls=http://127.0.0.1:${peers}`,
      `--initial-cluster=default=http://127.0.0.1:${peers}`,
      '--unsafe-no-fsync',
    ])
  }

  #spawn(name: string, program: string, args: readonly string[]): ChildProcess {
    const log = openSync(join(this.#folder.path, `${name}.log`), 'a')
    const child = spawn(program, args, { cwd: this.#folder.path, stdio: ['ignore', log, log] })
    closeSync(log)
    return child
  }
}

function collectionOf({ apiVersion, kind, metadata }: Manifest): string {
  const root = apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`
  const scope = metadata.namespace === undefined ? '' : `/namespaces/${metadata.namespace}`
  return `${root}${scope}/${kind.toLowerCase().replace(/y$/, 'ie')}s`
}

async function end(child: ChildProcess | undefined, signal: NodeJS.Signals): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
  const ended = new Promise(resolve => child.once('exit', resolve))
  child.kill(signal)
  await ended
}
