import { readFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { parse } from 'yaml'
import { AccessError, type ClusterAccess } from './cluster-access.ts'

type Fields = Readonly<Record<string, unknown>>

/**
 * The access that a kubeconfig file's current context describes: tokens, client certificates, authorities, each in the file or
 * in files beside it. What runs programs (`exec`, `auth-provider`) or goes through proxies is refused, never passed over.
 * @throws AccessError
 */
export async function loadKubeconfig(file: string): Promise<ClusterAccess> {
  const fail = (message: string, cause?: unknown) => new AccessError(`${file}: ${message}`, { cause })
  let document: unknown
  try {
    document = parse(await readFile(file, 'utf8'))
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT'
    throw fail(missing ? 'there is no such file' : (error as Error).message, error)
  }
  const config = fieldsOf(document)
  const current = textOf(config, 'current-context')
  if (current === undefined) throw fail('has no current-context')
  const named = (list: string, part: string, name: string): Fields => {
    const items = config[list]
    const item = (Array.isArray(items) ? items : []).map(fieldsOf).find(entry => entry['name'] === name)
    if (item === undefined) throw fail(`there is no ${part} "${name}"`)
    return fieldsOf(item[part])
  }
  const context = named('contexts', 'context', current)
  const clusterName = textOf(context, 'cluster')
  if (clusterName === undefined) throw fail(`the context "${current}" has no cluster`)
  const cluster = named('clusters', 'cluster', clusterName)
  const userName = textOf(context, 'user')
  const user = userName === undefined ? {} : named('users', 'user', userName)

  for (const [field, why] of Object.entries(REFUSED_USER)) {
    if (user[field] !== undefined) throw fail(`the user "${userName}" has "${field}": ${why}`)
  }
  if (cluster['proxy-url'] !== undefined) throw fail('"proxy-url" is not supported')
  const server = textOf(cluster, 'server')?.replace(/\/+$/, '')
  if (server === undefined || !/^https?:$/.test(URL.parse(server)?.protocol ?? ''))
    throw fail(`the cluster "${clusterName}" has no server with http:// or https://`)

  const inlineOrFile = async (fields: Fields, name: string): Promise<string | undefined> => {
    const data = textOf(fields, `${name}-data`)
    if (data !== undefined) return Buffer.from(data, 'base64').toString('utf8')
    const path = textOf(fields, name)
    return path === undefined ? undefined : read(path)
  }
  const read = async (path: string): Promise<string> => {
    try {
      return await readFile(resolve(dirname(file), path), 'utf8')
    } catch (error) {
      throw fail((error as Error).message, error)
    }
  }
  const ca = await inlineOrFile(cluster, 'certificate-authority')
  const cert = await inlineOrFile(user, 'client-certificate')
  const key = await inlineOrFile(user, 'client-key')
  if ((cert === undefined) !== (key === undefined)) throw fail('a client certificate and its key belong together')
  // As Kubernetes' own clients: the file wins, as it is the one that is renewed.
  const tokenFile = textOf(user, 'tokenFile')
  const token = tokenFile === undefined ? textOf(user, 'token') : (await read(tokenFile)).trim()
  const serverName = textOf(cluster, 'tls-server-name')
  const namespace = textOf(context, 'namespace')
  return {
    server,
    insecure: cluster['insecure-skip-tls-verify'] === true,
    ...(ca === undefined ? {} : { ca }),
    ...(serverName === undefined ? {} : { serverName }),
    ...(token === undefined ? {} : { token }),
    ...(cert === undefined || key === undefined ? {} : { clientCertificate: { cert, key } }),
    ...(namespace === undefined ? {} : { namespace }),
  }
}

const REFUSED_USER: Readonly<Record<string, string>> = {
  exec: 'no programs are run to get credentials; use a token, a tokenFile or a client certificate',
  'auth-provider': 'not supported; use a token, a tokenFile or a client certificate',
  username: 'API servers know no passwords any more; use a token, a tokenFile or a client certificate',
  as: 'impersonation is not supported',
}

function fieldsOf(value: unknown): Fields {
  return typeof value === 'object' && value !== null ? (value as Fields) : {}
}

function textOf(fields: Fields, name: string): string | undefined {
  const value = fields[name]
  return typeof value === 'string' && value !== '' ? value : undefined
}
