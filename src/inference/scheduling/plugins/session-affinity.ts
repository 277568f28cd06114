import { z } from 'zod'
import { headerName as headerNameSchema, object } from '../../../config/kinds/common.ts'
import { type HeaderName, headerName as headerKey } from '../../../extproc/header-view.ts'
import type { EndpointTable } from '../../endpoint-table.ts'
import type { Candidates } from '../candidates.ts'
import { SessionTable } from './session-table.ts'

/** Of the scorer and of the filter. */
export const sessionParameters = object(
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

/** What scorer and filter have in common: the endpoint that the last request of a session went to. */
export class SessionAffinity {
  static readonly WORDS = SessionTable.WORDS
  readonly #headers: readonly HeaderName[]
  readonly #sessions: SessionTable
  #session: string | undefined

  constructor({ sources, evictionTtlSeconds }: z.output<typeof sessionParameters>) {
    this.#headers = sources.map(({ header }) => headerKey(header))
    this.#sessions = new SessionTable(evictionTtlSeconds)
  }

  attach(memory: Int32Array): void {
    this.#sessions.attach(memory)
  }

  /** The slot of the request's session; −1: it has none. */
  find({ headers, nowMs }: Candidates, table: EndpointTable): number {
    this.#session = undefined
    for (let h = 0; h < this.#headers.length; h++) {
      const value = headers?.get(this.#headers[h]!)
      if (value === undefined || value === '') continue
      this.#session = value
      return this.#sessions.find(value, nowMs, table)
    }
    return -1
  }

  /** The request of the last `find` goes to this candidate. */
  chosen({ slots, nowMs }: Candidates, table: EndpointTable, choice: number): void {
    if (this.#session !== undefined) this.#sessions.set(this.#session, nowMs, slots[choice]!, table)
  }
}
