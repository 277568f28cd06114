import type { RecordedRequest } from './recorded-request.ts'
import { startRecordingBackend } from './recording-backend.ts'
import { jsonReply, type Reply, type Script } from './reply.ts'
import type { Rig } from './rig.ts'
import { waitFor } from './wait-for.ts'

export interface ModelServerOptions {
  readonly name: string
  /** What `/v1/models` lists. */
  readonly models: readonly string[]
  readonly protocol?: 'http1' | 'h2c'
  /** Requests waiting, as `/metrics` says. Default 0. */
  readonly waiting?: number
  /** Answers everything but `/metrics` and `GET /v1/models`. Default: 200 with `{"backend": name}`. */
  readonly script?: Script
}

/** A recording backend that a pool takes for a model server. */
export interface ModelServer {
  readonly name: string
  /** `host:port` */
  readonly address: string
  /** What clients sent, in the order of arrival: everything but the scrapers' requests. */
  readonly served: readonly RecordedRequest[]
  /** Answers so from now on; undefined: as at first. */
  script(script?: Script): void
  /** Forgets the requests so far. */
  forget(): void
  close(): Promise<void>
}

export async function startModelServer(options: ModelServerOptions): Promise<ModelServer> {
  const { name, models, protocol = 'http1', waiting = 0 } = options
  const first: Script = options.script ?? (() => jsonReply({ backend: name }))
  let script = first
  const backend = await startRecordingBackend({
    name,
    protocol,
    script: request => {
      if (request.path === '/metrics') return metricsReply(waiting)
      if (isModelList(request)) return jsonReply({ object: 'list', data: models.map(id => ({ id, object: 'model' })) })
      return script(request)
    },
  })
  return {
    name,
    address: backend.address,
    get served() {
      return backend.requests.filter(request => request.path !== '/metrics' && !isModelList(request))
    },
    script: (next = first) => (script = next),
    forget: () => backend.forget(),
    close: () => backend.close(),
  }
}

/** Waits until Signalbox knows which models these servers have: only then is a model unknown. */
export async function modelsAreListed(rig: Rig, servers: readonly { readonly address: string }[]): Promise<void> {
  await waitFor('the lists of models', async () => {
    const pools = await rig.admin<Record<string, { address: string; models: unknown[] }[]>>('/pools')
    const listed = new Set(
      Object.values(pools)
        .flat()
        .filter(({ models }) => models.length > 0)
        .map(({ address }) => address),
    )
    return servers.every(({ address }) => listed.has(address))
  })
}

function isModelList({ method, path }: RecordedRequest): boolean {
  return method === 'GET' && path === '/v1/models'
}

function metricsReply(waiting: number): Reply {
  const page = [
    '# TYPE vllm:num_requests_waiting gauge',
    `vllm:num_requests_waiting{model_name="m"} ${waiting}`,
    'vllm:num_requests_running{model_name="m"} 0',
    'vllm:kv_cache_usage_perc{model_name="m"} 0',
    '',
  ].join('\n')
  return { headers: { 'content-type': 'text/plain; version=0.0.4' }, chunks: [page], contentLength: true }
}
