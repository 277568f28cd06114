import { createServer, type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { TlsCredentials, type TlsOptions } from '../grpc/tls.ts'

/** What the admin port tells. Everything is read at the time of the request. */
export interface AdminSources {
  /** Prometheus page. */
  readonly metrics: () => Promise<{ readonly contentType: string; readonly body: string }>
  /** Why the process is not ready; undefined = ready. */
  readonly notReady: () => string | undefined
  /** JSON documents by path, e.g. `/pools`. No secrets. */
  readonly documents: Readonly<Record<string, () => unknown>>
  /** Default: plaintext. */
  readonly tls?: AdminTls
  /** Who may read a path, by the request's `authorization`: 200, or the status to answer with. Health is everybody's. Default: all may. */
  readonly authorize?: (authorization: string | undefined, path: string) => Promise<number>
}

interface AdminTls {
  readonly options: TlsOptions
  /** The files have changed, and cannot be used: the old ones stay. */
  readonly onError: (error: unknown) => void
}

/** When whoever could not be told who the caller is may ask again. */
const RETRY_AFTER_S = '1'

export interface AdminServer {
  readonly address: string
  readonly port: number
  close(): Promise<void>
}

/** `/healthz`, `/readyz`, `/metrics` and JSON documents. Read-only: there is nothing here to protect but load. Rejects for files that cannot be used. */
export async function startAdminServer(host: string, port: number, sources: AdminSources): Promise<AdminServer> {
  const listener = (request: IncomingMessage, response: ServerResponse): void => {
    const path = (request.url ?? '/').split('?', 1)[0]!
    const answer = (status: number, type: string, body: string, retryAfter?: string) => {
      response
        .writeHead(status, {
          'content-type': type,
          'content-length': Buffer.byteLength(body),
          'cache-control': 'no-store',
          ...(status === 405 ? { allow: 'GET, HEAD' } : {}),
          ...(status === 401 ? { 'www-authenticate': 'Bearer' } : {}),
          ...(retryAfter === undefined ? {} : { 'retry-after': retryAfter }),
        })
        .end(request.method === 'HEAD' ? '' : body)
    }
    if (request.method !== 'GET' && request.method !== 'HEAD') return answer(405, 'text/plain', 'only GET\n')
    if (path === '/healthz') return answer(200, 'text/plain', 'ok\n')
    if (path === '/readyz') {
      const why = sources.notReady()
      return why === undefined ? answer(200, 'text/plain', 'ok\n') : answer(503, 'text/plain', `${why}\n`)
    }
    const { authorize } = sources
    if (authorize === undefined) return tell(path, answer)
    // Nobody is asked about what does not exist.
    if (path !== '/' && path !== '/metrics' && !Object.hasOwn(sources.documents, path))
      return answer(404, 'text/plain', 'Not Found\n')
    const refuse = (status: number, why: string) =>
      answer(status, 'text/plain', `${why}\n`, status === 503 ? RETRY_AFTER_S : undefined)
    authorize(request.headers.authorization, path).then(
      status => (status === 200 ? tell(path, answer) : refuse(status, STATUS_CODES[status] ?? String(status))),
      () => refuse(503, 'nobody to ask'),
    )
  }
  const tell = (path: string, answer: (status: number, type: string, body: string) => void) => {
    if (path === '/metrics') {
      sources.metrics().then(
        ({ contentType, body }) => answer(200, contentType, body),
        () => answer(500, 'text/plain', 'metrics failed\n'),
      )
      return
    }
    if (Object.hasOwn(sources.documents, path)) {
      let text: string
      try {
        text = JSON.stringify(sources.documents[path]!(), null, 2)
      } catch {
        return answer(500, 'text/plain', 'the document failed\n')
      }
      return answer(200, 'application/json', `${text}\n`)
    }
    const known = ['/healthz', '/readyz', '/metrics', ...Object.keys(sources.documents)]
    answer(path === '/' ? 200 : 404, 'text/plain', `${known.join('\n')}\n`)
  }
  const { tls } = sources
  const credentials = tls === undefined ? undefined : await TlsCredentials.load(tls.options)
  const secure = credentials === undefined ? undefined : createTlsServer(credentials.serverOptions(), listener)
  const server = secure ?? createServer(listener)
  if (secure !== undefined) credentials!.watch(context => secure.setSecureContext(context), tls!.onError)
  server.requestTimeout = 10_000
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, resolve)
  })
  const bound = server.address() as AddressInfo
  return {
    address: `${bound.family === 'IPv6' ? `[${bound.address}]` : bound.address}:${bound.port}`,
    port: bound.port,
    close: () =>
      new Promise(resolve => {
        credentials?.close()
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
