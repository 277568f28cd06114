import type { IncomingMessage, ServerResponse } from 'node:http'
import { realClock } from './clock.ts'
import type { SimContext } from './context.ts'
import { Engine } from './engine.ts'
import { Exchange, flatten } from './exchange.ts'
import { type FaultChange, type Faults, faultChangeFields, FaultSwitches } from './faults.ts'
import { HttpListener } from './http-listener.ts'
import { KvEventPublisher } from './kv-events.ts'
import { ModelRegistry } from './model-registry.ts'
import { type ResolvedOptions, resolveOptions, type SimulatorOptions } from './options.ts'
import { Random } from './random.ts'
import { RequestLog, type RequestRecord } from './request-log.ts'
import { isRecorded, serve } from './router.ts'
import { VllmMetrics } from './vllm-metrics.ts'

/** A running simulator. */
export interface Simulator {
  /** The replica's name, as in `x-sim-replica`. */
  readonly name: string
  readonly host: string
  readonly port: number
  /** `http://host:port` */
  readonly url: string
  /** Of the ZMQ sockets that tell of the KV cache; 0: there are none. */
  readonly kvEventsPort: number
  readonly kvReplayPort: number
  /** The last requests, oldest first: live objects, still changing while a request is open. */
  requests(): readonly RequestRecord[]
  readonly faults: Faults
  /** Same as `POST /sim/fault`, except that `refuseConnections` needs no duration here. */
  setFaults(change: FaultChange): void
  clearFaults(): void
  /** Requests in the engine now. */
  load(): { readonly running: number; readonly waiting: number; readonly kvUsage: number }
  /** Resolves with the exit status when fault `exit` ended the simulator; otherwise never. */
  readonly exited: Promise<number>
  /** Stops listening, cuts every connection, stops every timer. May be called again. */
  close(): Promise<void>
}

/**
 * Starts a simulated vLLM server. Rejects with `SimulatorOptionsError` for wrong options and with the system's error when the
 * port cannot be had.
 */
export async function startSimulator(options: SimulatorOptions = {}): Promise<Simulator> {
  const server = new SimulatorServer(resolveOptions(options))
  await server.start()
  return server
}

class SimulatorServer implements Simulator {
  readonly host: string
  readonly #options: ResolvedOptions
  readonly #context: SimContext
  readonly #listener: HttpListener
  readonly #kvEvents: KvEventPublisher | undefined
  readonly #exit = Promise.withResolvers<number>()
  #name: string
  #port = 0
  #listening = false
  #closed = false
  /** Opening and closing the port, one after the other. */
  #transition: Promise<void> = Promise.resolve()

  constructor(options: ResolvedOptions) {
    this.#options = options
    this.host = options.host
    this.#name = options.name
    const unixSeconds = () => Math.floor(Date.now() / 1000)
    const metrics = new VllmMetrics({
      modelName: options.models[0]!,
      maxModelLen: options.maxModelLen,
      blockSize: options.blockSize,
      numGpuBlocks: options.numGpuBlocks,
      maxLoras: options.maxLoras,
      unixTime: () => Date.now() / 1000,
    })
    if (options.kvEventsPort >= 0)
      this.#kvEvents = new KvEventPublisher({
        host: options.host,
        port: options.kvEventsPort,
        replayPort: options.kvReplayPort,
        blockSize: options.blockSize,
        topic: () => `kv@${this.#name}@${options.models[0]!}`,
        unixTime: () => Date.now() / 1000,
      })
    this.#context = {
      options,
      metrics,
      engine: new Engine(options, realClock(options.speed), metrics, this.#kvEvents),
      models: new ModelRegistry(options.models, options.loras, options.maxModelLen, unixSeconds()),
      faults: new FaultSwitches(options.faults, faults => this.#applyFaults(faults)),
      log: new RequestLog(options.recordedRequests),
      random: new Random(options.seed),
      unixSeconds,
    }
    this.#listener = new HttpListener((request, response) => this.#accept(request, response), options.maxHeaderBytes)
  }

  get name(): string {
    return this.#name
  }

  get port(): number {
    return this.#port
  }

  get kvEventsPort(): number {
    return this.#kvEvents?.port ?? 0
  }

  get kvReplayPort(): number {
    return this.#kvEvents?.replayPort ?? 0
  }

  get url(): string {
    return `http://${this.host.includes(':') ? `[${this.host}]` : this.host}:${this.#port}`
  }

  get faults(): Faults {
    return this.#context.faults.current
  }

  get exited(): Promise<number> {
    return this.#exit.promise
  }

  async start(): Promise<void> {
    this.#port = await this.#listener.listen(this.host, this.#options.port)
    this.#listening = true
    await this.#kvEvents?.listen()
    if (this.#name === '') this.#name = `sim-${this.#port}`
    this.#applyFaults(this.faults)
    await this.#transition
  }

  requests(): readonly RequestRecord[] {
    return this.#context.log.last(this.#options.recordedRequests)
  }

  setFaults(change: FaultChange): void {
    this.#context.faults.apply(faultChangeFields.parse(change))
  }

  clearFaults(): void {
    this.#context.faults.clear()
  }

  load(): { running: number; waiting: number; kvUsage: number } {
    const { engine } = this.#context
    return { running: engine.running.length, waiting: engine.waiting.length, kvUsage: engine.cache.usage }
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#context.faults.stopTimers()
    this.#context.engine.close()
    this.#setListening(false)
    await this.#transition
    await this.#kvEvents?.close()
  }

  #applyFaults({ refuseConnections, exit }: Faults): void {
    if (this.#closed) return
    if (exit !== undefined) {
      void this.close().then(() => this.#exit.resolve(exit))
      return
    }
    this.#setListening(refuseConnections !== true)
  }

  #setListening(on: boolean): void {
    this.#transition = this.#switch(this.#transition, on)
  }

  async #switch(previous: Promise<void>, on: boolean): Promise<void> {
    await previous
    if (on === this.#listening) return
    this.#listening = on
    try {
      await (on ? this.#listener.listen(this.host, this.#port) : this.#listener.close())
    } catch {
      // Somebody else took the port meanwhile: a server that cannot be reached any more is over.
      this.#exit.resolve(1)
    }
  }

  #accept(request: IncomingMessage, response: ServerResponse): void {
    const url = URL.parse(request.url ?? '/', 'http://simulator') ?? new URL('http://simulator/')
    const record = this.#record(request, url.pathname)
    if (isRecorded(url.pathname)) this.#context.log.add(record)
    void serve(this.#context, new Exchange(request, response, url, record))
  }

  #record(request: IncomingMessage, path: string): RequestRecord {
    const raw = request.rawHeaders
    const index = this.#context.log.nextIndex()
    return {
      index,
      id: `req-${index}`,
      replica: this.#name,
      receivedAt: new Date().toISOString(),
      httpVersion: request.httpVersion,
      method: request.method ?? '',
      path,
      rawHeaders: Array.from({ length: raw.length / 2 }, (_, i) => [raw[2 * i]!, raw[2 * i + 1]!]),
      headers: flatten(request.headers),
      trailers: {},
      bodyBytes: 0,
      bodySha256: null,
      model: null,
      stream: false,
      status: null,
      promptTokens: 0,
      cachedTokens: 0,
      completionTokens: 0,
      finishReason: null,
      timings: { scheduledMs: null, firstTokenMs: null, finishedMs: null },
      outcome: 'open',
    }
  }
}
