import { z } from 'zod'
import { headerName as headerNameSchema, object } from '../../../config/kinds/common.ts'
import { type HeaderName, headerName as headerKey } from '../../../extproc/header-view.ts'
import type { EndpointTable } from '../../endpoint-table.ts'
import type { Candidates } from '../candidates.ts'
import type { Scorer } from '../scorer.ts'
import { scorerType } from './plugin-type.ts'
import { SessionTable } from './session-table.ts'

const parameters = object(
  {
    strategy: z.literal(
      'session_id',
      'only session_id is supported yet (encoded_endpoint_header, the default of llm-d, needs a header on the response)',
    ),
    /** The first that the request has names its session. */
    sources: z
      .array(object({ header: headerNameSchema }, { attribute: 'attributes are not supported yet, only headers' }))
      .min(1)
      .default([{ header: 'x-session-id' }]),
    /** A session that was idle for so long has no endpoint any more. */
    evictionTtlSeconds: z.number().positive().default(300),
  },
  {
    profileName: 'there is one profile only',
    evictionSweepSeconds: 'not needed: sessions age without being swept',
  },
)

/** 1 for the endpoint that the session's last request went to, else 0 (epp.md §3.3). */
class SessionAffinityScorer implements Scorer {
  readonly type = 'session-affinity-scorer'
  readonly #headers: readonly HeaderName[]
  readonly #sessions: SessionTable
  #session: string | undefined

  constructor(headers: readonly HeaderName[], ttlSeconds: number) {
    this.#headers = headers
    this.#sessions = new SessionTable(ttlSeconds)
  }

  sharedWords(): number {
    return SessionTable.WORDS
  }

  attach(memory: Int32Array): void {
    this.#sessions.attach(memory)
  }

  score({ count, slots, headers, nowMs }: Candidates, table: EndpointTable, out: Float64Array): void {
    this.#session = undefined
    for (let h = 0; h < this.#headers.length; h++) {
      const value = headers?.get(this.#headers[h]!)
      if (value === undefined || value === '') continue
      this.#session = value
      break
    }
    const slot = this.#session === undefined ? -1 : this.#sessions.find(this.#session, nowMs, table)
    for (let i = 0; i < count; i++) out[i] = slots[i] === slot ? 1 : 0
  }

  chosen({ slots, nowMs }: Candidates, table: EndpointTable, choice: number): void {
    if (this.#session !== undefined) this.#sessions.set(this.#session, nowMs, slots[choice]!, table)
  }
}

export const sessionAffinityScorer = scorerType(
  'session-affinity-scorer',
  parameters,
  ({ sources, evictionTtlSeconds }): Scorer =>
    new SessionAffinityScorer(
      sources.map(({ header }) => headerKey(header)),
      evictionTtlSeconds,
    ),
)
