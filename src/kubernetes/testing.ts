/** For tests: an API server that knows lists and watches, and how to misbehave. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { ClusterAccess } from './cluster-access.ts'
import type { ReflectorTiming } from './reflector-options.ts'

export interface FakeObject {
  readonly metadata: {
    readonly name: string
    readonly namespace?: string
    readonly labels?: Readonly<Record<string, string>>
    readonly [field: string]: unknown
  }
  readonly [field: string]: unknown
}

interface Collection {
  readonly objects: Map<string, FakeObject>
  readonly events: { readonly version: number; readonly type: string; readonly object: FakeObject }[]
}

interface Watch {
  readonly path: string
  readonly selector: string
  readonly namespace: string | undefined
  readonly bookmarks: boolean
  readonly response: ServerResponse
}

export class FakeApiServer {
  /** Bytes per write of a watch; 0: whole lines. */
  chunkBytes = 0
  /** Objects per page at most, whatever the client asks for. */
  pageLimit = Number.POSITIVE_INFINITY
  /** Answers of a path, with this status instead of a list or watch. */
  readonly refusals = new Map<string, number>()
  /** `continue` tokens are refused with 410. */
  forgetsPages = false
  /** Named objects of these collections are never answered about. */
  readonly silent = new Set<string>()
  /** `path?query` of all requests, with their `authorization`. */
  readonly requests: { readonly url: string; readonly authorization: string | undefined }[] = []
  /** Watches that were answered so far. */
  watchesBegun = 0
  readonly #collections = new Map<string, Collection>()
  readonly #watches = new Set<Watch>()
  #server: Server | undefined
  #port = 0
  #version = 100
  /** Watches from before this version get 410. */
  #oldest = 0

  /** Collections that exist, e.g. `/api/v1/pods`. Others are 404. */
  constructor(...paths: readonly string[]) {
    for (const path of paths) this.addCollection(path)
  }

  addCollection(path: string): void {
    this.#collections.set(path, { objects: new Map(), events: [] })
  }

  get access(): ClusterAccess {
    return { server: `http://127.0.0.1:${this.#port}`, insecure: false, token: 'secret' }
  }

  get watches(): number {
    return this.#watches.size
  }

  /** Listens; after `stop` on the same port again, with everything that was there. */
  async start(): Promise<void> {
    const server = createServer((request, response) => this.#serve(request, response))
    await new Promise<void>(resolve => server.listen(this.#port, '127.0.0.1', resolve))
    this.#port = (server.address() as AddressInfo).port
    this.#server = server
  }

  /** Cuts all connections and listens no more. */
  async stop(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    if (server === undefined) return
    const closed = new Promise(resolve => server.close(resolve))
    server.closeAllConnections()
    await closed
    this.#watches.clear()
  }

  /** What is stored under a name. */
  get(path: string, name: string, namespace = 'default'): FakeObject | undefined {
    return this.#collections.get(path)?.objects.get(`${namespace}/${name}`)
  }

  put(path: string, object: FakeObject): void {
    this.#store(path, object)
  }

  #store(path: string, object: FakeObject): FakeObject {
    const collection = this.#collections.get(path)!
    const key = keyOf(object)
    const version = ++this.#version
    const stored = { ...object, metadata: { ...object.metadata, resourceVersion: String(version) } }
    const before = collection.objects.get(key)
    collection.objects.set(key, stored)
    this.#tell(path, collection, version, before === undefined ? 'ADDED' : 'MODIFIED', stored)
    return stored
  }

  remove(path: string, name: string, namespace = 'default'): void {
    const collection = this.#collections.get(path)!
    const key = `${namespace}/${name}`
    const object = collection.objects.get(key)
    if (object === undefined) throw new Error(`there is no ${key}`)
    collection.objects.delete(key)
    const version = ++this.#version
    const last = { ...object, metadata: { ...object.metadata, resourceVersion: String(version) } }
    this.#tell(path, collection, version, 'DELETED', last)
  }

  /** Events of before now are forgotten, as after a compaction. */
  forget(): void {
    this.#oldest = this.#version
  }

  /** A bookmark for every watch that wants them. */
  bookmark(): void {
    const object = { metadata: { name: '', resourceVersion: String(this.#version) } }
    for (const { response, bookmarks } of this.#watches)
      if (bookmarks) this.#write(response, JSON.stringify({ type: 'BOOKMARK', object }))
  }

  /** Raw text into every watch. */
  write(text: string): void {
    for (const { response } of this.#watches) response.write(text)
  }

  /** Ends every watch in order. */
  endWatches(): void {
    for (const { response } of this.#watches) response.end()
  }

  /** Cuts every watch. */
  cutWatches(): void {
    for (const { response } of this.#watches) response.destroy()
  }

  #tell(path: string, collection: Collection, version: number, type: string, object: FakeObject): void {
    collection.events.push({ version, type, object })
    for (const watch of this.#watches) {
      if (watch.path === path && matches(watch, object)) this.#write(watch.response, JSON.stringify({ type, object }))
    }
  }

  #write(response: ServerResponse, line: string): void {
    const bytes = Buffer.from(`${line}\n`)
    const size = this.chunkBytes > 0 ? this.chunkBytes : bytes.length
    for (let at = 0; at < bytes.length; at += size) response.write(bytes.subarray(at, at + size))
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url!, 'http://server')
    this.requests.push({ url: request.url!, authorization: request.headers.authorization })
    const namespaced = /^(.*)\/namespaces\/([^/]+)(\/[^/]+)(?:\/([^/]+))?$/.exec(url.pathname)
    const path = namespaced === null ? url.pathname : `${namespaced[1]}${namespaced[3]}`
    const namespace = namespaced?.[2]
    const name = namespaced?.[4]
    const refusal = this.refusals.get(path)
    const collection = this.#collections.get(path)
    const refuse = (code: number, message: string) =>
      response.writeHead(code, { 'content-type': 'application/json' }).end(JSON.stringify({ kind: 'Status', message }))
    if (refusal !== undefined) return void refuse(refusal, `refused with ${refusal}`)
    if (collection === undefined) return void refuse(404, 'the server could not find the requested resource')
    if (name !== undefined || request.method === 'POST') {
      if (!this.silent.has(path)) void this.#serveOne(path, `${namespace}/${name}`, request, response, refuse)
      return
    }
    const selector = url.searchParams.get('labelSelector') ?? ''
    const version = Number(url.searchParams.get('resourceVersion') ?? 0)
    if (url.searchParams.get('watch') === 'true') {
      if (version < this.#oldest) return void refuse(410, 'too old resource version')
      const bookmarks = url.searchParams.get('allowWatchBookmarks') === 'true'
      const watch = { path, selector, namespace, bookmarks, response }
      response.writeHead(200, { 'content-type': 'application/json' }).flushHeaders()
      for (const event of collection.events) {
        if (event.version > version && matches(watch, event.object)) this.#write(response, JSON.stringify(event))
      }
      this.#watches.add(watch)
      this.watchesBegun++
      response.once('close', () => this.#watches.delete(watch))
      return
    }
    const from = Number(url.searchParams.get('continue') ?? 0)
    if (from > 0 && this.forgetsPages) return void refuse(410, 'the continue token is too old')
    const limit = Math.min(Number(url.searchParams.get('limit') ?? Number.POSITIVE_INFINITY), this.pageLimit)
    const all = [...collection.objects.values()].filter(object => matches({ selector, namespace }, object))
    const paged = url.searchParams.has('limit')
    const items = paged ? all.slice(from, from + limit) : all
    const more = paged && from + limit < all.length ? { continue: String(from + limit) } : {}
    const metadata = { resourceVersion: String(this.#version), ...more }
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ metadata, items }))
  }

  /** GET and PUT of an object of a namespace, POST of a new one. */
  async #serveOne(
    path: string,
    key: string,
    request: IncomingMessage,
    response: ServerResponse,
    refuse: (code: number, message: string) => unknown,
  ): Promise<void> {
    const { objects } = this.#collections.get(path)!
    const answer = (code: number, object: FakeObject) =>
      response.writeHead(code, { 'content-type': 'application/json' }).end(JSON.stringify(object))
    if (request.method === 'GET') {
      const object = objects.get(key)
      return void (object === undefined ? refuse(404, `there is no ${key}`) : answer(200, object))
    }
    const sent = JSON.parse(Buffer.concat(await request.toArray()).toString('utf8')) as FakeObject
    const before = objects.get(keyOf(sent))
    if (request.method === 'POST')
      return void (before === undefined ? answer(201, this.#store(path, sent)) : refuse(409, 'it exists already'))
    if (before === undefined) return void refuse(404, `there is no ${key}`)
    if (sent.metadata['resourceVersion'] !== before.metadata['resourceVersion'])
      return void refuse(409, 'the object has been modified')
    answer(200, this.#store(path, sent))
  }
}

function matches(watch: Pick<Watch, 'selector' | 'namespace'>, { metadata }: FakeObject): boolean {
  if (watch.namespace !== undefined && (metadata.namespace ?? 'default') !== watch.namespace) return false
  return watch.selector
    .split(',')
    .filter(term => term !== '')
    .every(term => {
      const [key, value] = term.split('=')
      return metadata.labels?.[key!] === value
    })
}

function keyOf({ metadata }: FakeObject): string {
  return `${metadata.namespace ?? 'default'}/${metadata.name}`
}

/** Short waits. */
export const TEST_TIMING: ReflectorTiming = {
  firstRetryMs: 5,
  lastRetryMs: 40,
  absentMs: 30,
  silenceMs: 2000,
  listMs: 2000,
  watchMs: 60_000,
}

/** A pod as an API server tells of it. */
export function rawPod(name: string, ip: string, labels: Readonly<Record<string, string>>, ready = true): FakeObject {
  return {
    metadata: { name, namespace: 'default', labels },
    status: { podIP: ip, conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }] },
  }
}

export function rawPool(name: string, labels: Readonly<Record<string, string>>, ports: readonly number[]): FakeObject {
  return {
    apiVersion: 'inference.networking.k8s.io/v1',
    kind: 'InferencePool',
    metadata: { name, namespace: 'default' },
    spec: { selector: { matchLabels: labels }, targetPorts: ports.map(number => ({ number })) },
  }
}
