import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import type { Log } from '../telemetry/log.ts'
import type { ApiClient } from './api-client.ts'
import { ApiError, reasonOf } from './api-error.ts'
import { claimedLease, type Lease, type LeasePlace, leasesPath, newLease, readLease, releasedLease } from './lease.ts'

export interface ElectionTiming {
  /** For so long after a renewal nobody else takes the Lease. Whole seconds. */
  readonly leaseMs: number
  /** Who could not renew for so long leads no longer. Less than `leaseMs`. */
  readonly renewMs: number
  /** Between two attempts to renew; to acquire up to 2.2 times as much. */
  readonly retryMs: number
}

/** client-go's, and so llm-d's. */
export const DEFAULT_TIMING: ElectionTiming = { leaseMs: 15_000, renewMs: 10_000, retryMs: 2000 }
/** By how much of itself the time between two attempts to acquire is longer at most, so that candidates part. */
export const ACQUIRE_JITTER = 1.2

export interface ElectionOptions {
  readonly client: Pick<ApiClient, 'getJson' | 'postJson' | 'putJson' | 'renew'>
  readonly lease: LeasePlace
  /** Nobody else's: see `candidateName`. */
  readonly identity: string
  readonly log: Log
  /** Called at each change. At first nobody leads. */
  readonly onChange: (leads: boolean) => void
  readonly timing?: ElectionTiming
}

const CONFLICT = 409
const FORBIDDEN = 403

/** Of this process, among all that ever stood for the same Lease. @param podName the host's name otherwise */
export function candidateName(podName: string | undefined): string {
  return `${podName === undefined || podName === '' ? hostname() : podName}_${randomUUID()}`
}

/**
 * Stands for the leadership that a Lease stands for, as client-go's leader election does, so that its candidates and ours can stand for
 * the same one. At most one leads at a time as long as clocks run equally fast: a leader counts its time from when it sent the last
 * renewal, everybody else from when they saw that renewal, and what time it is anywhere counts for nothing. Each write says which version of
 * the Lease it is for, so of two the server takes one. Failures are tried again for ever; the log tells of the first.
 */
export class LeaderElection {
  readonly #options: ElectionOptions
  readonly #timing: ElectionTiming
  readonly #collection: string
  readonly #path: string
  #leads = false
  /** As it was read or written last. */
  #lease: Lease | undefined
  /** When we first saw its present record. */
  #seenAt = 0
  /** A write of ours may have made us its holder, even if no answer said so. */
  #mayHold = false
  /** Ends a leadership that is not renewed. */
  #deadline: NodeJS.Timeout | undefined
  #failure: 'forbidden' | 'failing' | undefined
  #running: Promise<void> | undefined
  #stopped = false
  #request = new AbortController()
  #wake: (() => void) | undefined

  constructor(options: ElectionOptions) {
    const { namespace, name } = options.lease
    this.#options = options
    this.#timing = options.timing ?? DEFAULT_TIMING
    this.#collection = leasesPath(namespace)
    this.#path = `${this.#collection}/${encodeURIComponent(name)}`
  }

  get leads(): boolean {
    return this.#leads
  }

  /** Stands from now on. Again: nothing. */
  start(): void {
    if (!this.#stopped) this.#running ??= this.#run()
  }

  /** Leads no longer, and tells the others so, in at most half of `renewMs`. No request or timer is left when this resolves. */
  async stop(): Promise<void> {
    if (this.#stopped) return
    this.#stopped = true
    this.#request.abort()
    this.#wake?.()
    this.#turn(false, 'this replica stops')
    await this.#running
    // An answer that came at the last moment.
    clearTimeout(this.#deadline)
    if (this.#mayHold) await this.#release()
  }

  async #run(): Promise<void> {
    while (!this.#isStopped()) {
      try {
        await this.#inTime(signal => this.#acquireOrRenew(signal))
        this.#worked()
      } catch (error) {
        if (this.#isStopped()) return
        await this.#failed(error instanceof Error ? error : new Error(String(error)))
      }
      const { retryMs } = this.#timing
      await this.#sleep(this.#leads ? retryMs : retryMs * (1 + Math.random() * ACQUIRE_JITTER))
    }
  }

  async #acquireOrRenew(signal: AbortSignal): Promise<void> {
    if (this.#leads) {
      try {
        await this.#claim(this.#lease, signal)
        return
      } catch (error) {
        // It isn't as we left it. Without an answer we know nothing, and go on as we are until the deadline.
        if (!(error instanceof ApiError)) throw error
      }
    }
    await this.#read(signal)
    const lease = this.#lease
    if (lease !== undefined && lease.holder !== '' && lease.holder !== this.#options.identity) {
      this.#turn(false, 'another has taken the Lease')
      if (performance.now() < this.#seenAt + (lease.durationMs ?? this.#timing.leaseMs)) return
    }
    await this.#claim(lease, signal)
  }

  /** Writes us into the Lease; leads if that is done. */
  async #claim(lease: Lease | undefined, signal: AbortSignal): Promise<void> {
    const { client, identity } = this.#options
    const claim = { holder: identity, durationMs: this.#timing.leaseMs }
    const sentAt = performance.now()
    this.#mayHold = true
    const answer =
      lease === undefined
        ? await client.postJson(this.#collection, newLease(this.#options.lease, claim), signal)
        : await client.putJson(this.#path, claimedLease(lease, claim), signal)
    this.#see(readLease(answer))
    const left = sentAt + this.#timing.renewMs - performance.now()
    if (!this.#mayHold || left <= 0 || this.#stopped) return
    clearTimeout(this.#deadline)
    this.#deadline = setTimeout(() => this.#turn(false, 'the Lease could not be renewed in time'), left)
    this.#turn(true, '')
  }

  /** The Lease as it is now; there may be none. */
  async #read(signal: AbortSignal): Promise<void> {
    try {
      this.#see(readLease(await this.#options.client.getJson(this.#path, signal)))
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 404) throw error
      this.#see(undefined)
    }
  }

  #see(lease: Lease | undefined): void {
    const before = this.#lease
    this.#lease = lease
    this.#mayHold = lease?.holder === this.#options.identity
    if (lease?.fingerprint !== before?.fingerprint) this.#seenAt = performance.now()
    if (lease === undefined || lease.holder === '' || this.#mayHold || lease.holder === before?.holder) return
    this.#options.log.info({ ...this.#named(), holder: lease.holder }, 'another replica leads')
  }

  #turn(leads: boolean, why: string): void {
    if (leads === this.#leads) return
    this.#leads = leads
    const { log, identity, onChange } = this.#options
    if (leads) log.info({ ...this.#named(), identity }, 'this replica leads')
    else {
      clearTimeout(this.#deadline)
      const fields = { ...this.#named(), reason: why }
      if (this.#stopped) log.info(fields, 'this replica leads no longer')
      else log.warn(fields, 'this replica leads no longer')
    }
    onChange(leads)
  }

  #worked(): void {
    if (this.#failure !== undefined) this.#options.log.info(this.#named(), 'the Lease can be had again')
    this.#failure = undefined
  }

  async #failed(error: Error): Promise<void> {
    const status = error instanceof ApiError ? error.status : undefined
    // Another was quicker: that is how it should be.
    if (status === CONFLICT) {
      this.#worked()
      return
    }
    const failure = status === FORBIDDEN ? 'forbidden' : 'failing'
    if (failure !== this.#failure) {
      const { log } = this.#options
      const fields = { ...this.#named(), reason: reasonOf(error) }
      if (failure === 'failing') log.warn(fields, 'the Lease can not be had; it is tried again')
      else
        log.error(
          fields,
          'no permission for the Lease: this replica cannot lead; it needs get, create and update of leases',
        )
    }
    this.#failure = failure
    await this.#options.client.renew()
  }

  /** Gives the Lease away, if it is ours. */
  async #release(): Promise<void> {
    this.#request = new AbortController()
    try {
      await this.#inTime(async signal => {
        // What was cut off may have been written all the same.
        await this.#read(signal)
        if (this.#lease === undefined || !this.#mayHold) return
        await this.#options.client.putJson(this.#path, releasedLease(this.#lease), signal)
      })
    } catch (error) {
      const reason = reasonOf(error instanceof Error ? error : new Error(String(error)))
      this.#options.log.warn(
        { ...this.#named(), reason },
        'the Lease is not given away: the others wait until it runs out',
      )
    }
  }

  /** Runs requests that are given up after half of the time that there is to renew. */
  async #inTime(run: (signal: AbortSignal) => Promise<void>): Promise<void> {
    const ms = this.#timing.renewMs / 2
    const request = new AbortController()
    this.#request = request
    const timer = setTimeout(() => request.abort(new Error(`no answer for ${ms / 1000} s`)), ms)
    try {
      await run(request.signal)
    } finally {
      clearTimeout(timer)
    }
  }

  #named(): { readonly lease: string } {
    const { namespace, name } = this.#options.lease
    return { lease: `${namespace}/${name}` }
  }

  async #sleep(ms: number): Promise<void> {
    if (this.#stopped) return
    await new Promise<void>(resolve => {
      const timer = setTimeout(resolve, ms)
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
    this.#wake = undefined
  }

  /** As a call, because it changes while we wait. */
  #isStopped(): boolean {
    return this.#stopped
  }
}
