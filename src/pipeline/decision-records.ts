/**
 * The decision record of a pick: who wants one, and where it goes. Off unless asked for; a request that nobody asks about pays one
 * comparison.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import type { Exchange } from '../extproc/exchange.ts'
import type { IncomingMessage } from '../extproc/decode-request.ts'
import { headerName } from '../extproc/header-view.ts'
import { attributeString } from '../extproc/metadata.ts'
import type { PickStatus } from '../inference/pick.ts'
import { type CandidateRecord, PickRecord } from '../inference/pick-record.ts'
import type { Call } from './call.ts'

/** Plain data, for every thread. */
export interface RecordOptions {
  /** The scores of all candidates as `envoy.lb`/`x-gateway-destination-endpoint-scores`. */
  readonly scores: boolean
  /** Who has it in `x-signalbox-explain` gets the record; undefined: nobody does. */
  readonly explainKey: string | undefined
  /**
   * SHA-256 fingerprints of certificates, in hexadecimal and lower case: who sends `x-signalbox-explain` over a TLS connection with one of these
   * gets the record too, as far as the gateway tells of it. Default: nobody.
   */
  readonly explainClients?: readonly string[]
  /** Share of the picks that go to the trace, 0 … 1. */
  readonly traceShare: number
}

/** A line of the trace. */
interface TraceLine {
  readonly v: 1
  /** The moment of the pick, Unix ms. */
  readonly at: number
  readonly pool: string
  readonly model: string
  /** Hash of the beginning of the prompt; absent: it was not looked at. */
  readonly prompt?: string
  readonly status: PickStatus
  readonly micros: number
  readonly profiles: PickRecord['profiles']
}

/** The attribute that a gateway's filter may ask Envoy for (`request_attributes`). */
const CERTIFICATE = 'connection.sha256_peer_certificate_digest'
const EXPLAIN = headerName('x-signalbox-explain')
export const EXPLAINED = 'x-signalbox-decision'
/** Of a header's value: what common proxies take of all headers together. */
const MAX_HEADER_BYTES = 8000
const MAX_LINE_BYTES = 256 * 1024
/** Lines of one thread in a second; more are dropped. */
const MAX_LINES = 200

export class DecisionRecords {
  readonly #options: RecordOptions
  readonly #key: Buffer | undefined
  readonly #clients: ReadonlySet<string>
  readonly #random: () => number
  readonly #trace: (line: string) => void
  #second = 0
  #lines = 0

  constructor(options: RecordOptions, random: () => number, trace: (line: string) => void) {
    this.#options = options
    this.#key = options.explainKey === undefined ? undefined : digest(options.explainKey)
    this.#clients = new Set(options.explainClients)
    this.#random = random
    this.#trace = trace
  }

  /**
   * The first message of a request came: notes whose it is. Envoy itself says so of the TLS connection, and nothing that a client sends changes
   * it; whoever has a certificate's fingerprint has its key, whether or not the gateway has looked at who signed it.
   */
  identify(call: Call, { bytes, attributesStart, attributesEnd }: IncomingMessage): void {
    if (this.#clients.size === 0 || bytes === undefined || call.headers.get(EXPLAIN) === undefined) return
    const fingerprint = attributeString(bytes, attributesStart, attributesEnd, CERTIFICATE)
    call.isOperator = fingerprint !== undefined && this.#clients.has(fingerprint.toLowerCase())
  }

  /** A record to be filled by the pick of this call; undefined: nobody wants one. */
  begin(call: Call): PickRecord | undefined {
    const { scores, traceShare } = this.#options
    call.explained = this.#mayExplain(call)
    call.traced = traceShare > 0 && this.#random() < traceShare
    if (!scores && !call.explained && !call.traced) return undefined
    call.recordedAt = performance.now()
    return new PickRecord()
  }

  /** The pick is over. What the data plane is to be told goes into the decision; `fleet`: as its record, else as a header. */
  end(x: Exchange, call: Call, pool: string, status: PickStatus, record: PickRecord, fleet: boolean): void {
    const micros = Math.round((performance.now() - call.recordedAt) * 1000)
    if (this.#options.scores) tellScores(x, call, record)
    if (call.explained) {
      const text = explanation(call, status, record, micros)
      if (fleet) x.decision.record('decision', text)
      else call.explanation = text
    }
    if (call.traced) this.#write(call, pool, status, record, micros)
  }

  #mayExplain(call: Call): boolean {
    if (this.#key === undefined && this.#clients.size === 0) return false
    const given = call.headers.get(EXPLAIN)
    if (given === undefined) return false
    // It is no business of the engine's, right or wrong.
    call.forged.push(EXPLAIN.text)
    return call.isOperator || (this.#key !== undefined && timingSafeEqual(digest(given), this.#key))
  }

  #write(call: Call, pool: string, status: PickStatus, { profiles }: PickRecord, micros: number): void {
    const { nowMs, model, prefix } = call.pick
    const second = Math.floor(nowMs / 1000)
    if (second !== this.#second) {
      this.#second = second
      this.#lines = 0
    }
    if (++this.#lines > MAX_LINES) return
    const last = (prefix?.count ?? 0) - 1
    const prompt = last < 0 ? {} : { prompt: hex(prefix!.high[last]!) + hex(prefix!.low[last]!) }
    const line: TraceLine = { v: 1, at: nowMs, pool, model, ...prompt, status, micros, profiles }
    const text = JSON.stringify(line)
    if (text.length <= MAX_LINE_BYTES) this.#trace(text)
  }
}

function tellScores(x: Exchange, call: Call, { profiles }: PickRecord): void {
  const first = call.picked.count === 0 ? undefined : profiles.find(profile => profile.picked.length > 0)
  for (const { address, total } of first?.candidates ?? []) {
    if (total === undefined || first!.scorers.length === 0) continue
    x.decision.scoreNames.push(address)
    x.decision.scores.push(total)
  }
}

/** As JSON in ASCII, with as many candidates as there is room for, the best first. */
function explanation(call: Call, status: PickStatus, { profiles }: PickRecord, micros: number): string {
  for (let most = 32; ; most = Math.floor(most / 2)) {
    const text = JSON.stringify({
      model: call.pick.model.slice(0, 256),
      status,
      micros,
      profiles: profiles.map(({ candidates, scorers, picked, reason, promptBytes, prefixBytes }) => ({
        picked,
        reason,
        scorers,
        promptBytes,
        prefixBytes,
        candidates: candidates.toSorted(byTotal).slice(0, most).map(brief),
        ...(candidates.length > most ? { left_out: candidates.length - most } : {}),
      })),
    }).replaceAll(/[^\x20-\x7e]/g, unit => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
    if (text.length <= MAX_HEADER_BYTES || most === 0) return text.slice(0, MAX_HEADER_BYTES)
  }
}

function byTotal(a: CandidateRecord, b: CandidateRecord): number {
  return (b.total ?? -Infinity) - (a.total ?? -Infinity)
}

function brief({ address, waiting, running, unseen, kvUsage, prefix, unknown, total, scores }: CandidateRecord) {
  const loads = { waiting, running, unseen, kvUsage, prefix }
  return { address, ...loads, ...(unknown ? { unknown } : {}), ...(total === undefined ? {} : { total, scores }) }
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}

function hex(value: number): string {
  return (value >>> 0).toString(16).padStart(8, '0')
}
