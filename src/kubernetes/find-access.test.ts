import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { mkdir, writeFile } from 'node:fs/promises'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { makeTempFolder, type TempFolder } from '../../test/support/temp-folder.ts'
import { selfSigned } from '../grpc/self-signed.ts'
import { ApiClient } from './api-client.ts'
import { findAccess } from './find-access.ts'
import { loadKubeconfig } from './kubeconfig.ts'

let folder: TempFolder
let file: string

beforeEach(async () => {
  folder = await makeTempFolder()
  file = join(folder.path, 'config')
})
afterEach(() => folder.remove())

interface Parts {
  readonly cluster?: string
  readonly user?: string
  readonly rest?: string
}

const write = ({ cluster = 'server: https://10.0.0.1:6443', user = '', rest = 'current-context: c' }: Parts) =>
  writeFile(
    file,
    `apiVersion: v1
kind: Config
clusters: [{name: k, cluster: {${cluster}}}, {name: other, cluster: {server: "https://other"}}]
users: [{name: u, user: {${user}}}]
contexts: [{name: c, context: {cluster: k, user: u, namespace: models}}, {name: d, context: {cluster: nowhere, user: u}}]
${rest}
`,
  )

describe('loadKubeconfig', () => {
  it('reads the current context', async () => {
    await write({ cluster: 'server: "https://10.0.0.1:6443/", insecure-skip-tls-verify: true', user: 'token: t' })
    expect(await loadKubeconfig(file)).toEqual({
      server: 'https://10.0.0.1:6443',
      insecure: true,
      token: 't',
      namespace: 'models',
    })
  })

  it('reads data and files beside it', async () => {
    await writeFile(join(folder.path, 'ca.pem'), 'CA')
    await writeFile(join(folder.path, 'token'), 'from file\n')
    const data = (text: string) => Buffer.from(text).toString('base64')
    await write({
      cluster: 'server: "https://a", certificate-authority: ca.pem, tls-server-name: b',
      user: `tokenFile: token, token: t, client-certificate-data: ${data('CERT')}, client-key-data: ${data('KEY')}`,
    })
    expect(await loadKubeconfig(file)).toMatchObject({
      ca: 'CA',
      serverName: 'b',
      token: 'from file',
      clientCertificate: { cert: 'CERT', key: 'KEY' },
    })
  })

  it.each<[Parts, RegExp]>([
    [{ rest: '' }, /no current-context/],
    [{ rest: 'current-context: x' }, /there is no context "x"/],
    [{ rest: 'current-context: d' }, /there is no cluster "nowhere"/],
    [{ cluster: 'server: "10.0.0.1:6443"' }, /no server with http/],
    [{ cluster: 'server: "https://a", proxy-url: "http://p"' }, /proxy-url/],
    [{ cluster: 'server: "https://a", certificate-authority: missing' }, /ENOENT.*missing/],
    [{ user: 'exec: {command: aws}' }, /"exec": no programs are run/],
    [{ user: 'auth-provider: {name: gcp}' }, /auth-provider/],
    [{ user: 'client-certificate-data: QQ==' }, /belong together/],
    [{ rest: ']' }, /config: /],
  ])('refuses %j', async (parts, message) => {
    await write(parts)
    await expect(loadKubeconfig(file)).rejects.toThrow(message)
  })
})

describe('findAccess', () => {
  it('takes the named file, then $KUBECONFIG, then the service account', async () => {
    await write({ user: 'token: named' })
    const account = join(folder.path, 'account')
    await mkdir(account)
    await writeFile(join(account, 'ca.crt'), 'CA')
    await writeFile(join(account, 'token'), 'account\n')
    await writeFile(join(account, 'namespace'), 'models')
    const inPod = { KUBERNETES_SERVICE_HOST: 'fd00::1', KUBERNETES_SERVICE_PORT: '443' }
    expect(await findAccess(file, { ...inPod, KUBECONFIG: 'x' })()).toMatchObject({ token: 'named' })
    expect(await findAccess(undefined, { ...inPod, KUBECONFIG: file })()).toMatchObject({ token: 'named' })
    const load = findAccess(undefined, inPod, account)
    expect(await load()).toEqual({
      server: 'https://[fd00::1]:443',
      ca: 'CA',
      token: 'account',
      insecure: false,
      namespace: 'models',
    })
    await writeFile(join(account, 'token'), 'renewed\n')
    expect(await load()).toMatchObject({ token: 'renewed' })
    await expect(findAccess(undefined, inPod, join(account, 'none'))()).rejects.toThrow(/service account/)
    await expect(findAccess(undefined, { KUBECONFIG: 'a:b' })()).rejects.toThrow(/several files/)
  })
})

describe('ApiClient', () => {
  it('verifies the server, and renews its token', async () => {
    const { cert, key } = selfSigned(['127.0.0.1'])
    const tokens: (string | undefined)[] = []
    const server = createServer({ cert, key }, (request, response) => {
      tokens.push(request.headers.authorization)
      response.writeHead(tokens.length === 1 ? 401 : 200).end('{"message": "who?"}')
    })
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    let access = { server: `https://127.0.0.1:${port}/prefix`, insecure: false, token: 'old' }
    const client = new ApiClient(() => Promise.resolve(access))
    const { signal } = new AbortController()
    try {
      await expect(client.getJson('/api', signal)).rejects.toThrow(/self-signed/)
      access = { ...access, insecure: true }
      await client.renew()
      await expect(client.getJson('/api', signal)).rejects.toThrow('401 who?')
      access = { ...access, token: 'new' }
      await client.renew()
      expect(await client.getJson('/api', signal)).toEqual({ message: 'who?' })
      expect(tokens).toEqual(['Bearer old', 'Bearer new'])
    } finally {
      await client.close()
      server.closeAllConnections()
      await new Promise(resolve => server.close(resolve))
    }
  })
})
