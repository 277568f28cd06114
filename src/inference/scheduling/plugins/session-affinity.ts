import { z } from 'zod'
import { headerName as headerNameSchema, object } from '../../../config/kinds/common.ts'
import { type HeaderName, headerName as headerKey } from '../../../extproc/header-view.ts'
import type { EndpointTable } from '../../endpoint-table.ts'
import type { Candidates } from '../candidates.ts'
import { SessionTable } from './session-table.ts'

const source = object({
  header: headerNameSchema.optional(),
  /** Name of what a producer publishes: of `session-id-producer`, its own. */
  attribute: z.string().min(1).optional(),
  /** Name of the producer, where it is not the attribute's. */
  producer: z.string().optional(),
}).refine(
  ({ header, attribute }) => (header === undefined) !== (attribute === undefined),
  'needs either header or attribute',
)

const sessionShape = {
  /** The first that the request has names its session. */
  sources: z
    .array(source)
    .min(1)
    .default([{ header: 'x-session-id' }]),
  /** A session that was idle for so long has no endpoint any more. */
  evictionTtlSeconds: z.number().positive().default(300),
}
const sessionHints = { evictionSweepSeconds: 'not needed: sessions age without being swept' }

/** Of the scorer and of the filter: what `sessionIdConfig` says may stand beside `strategy` too. */
export const sessionParameters = object(
  {
    strategy: z.literal(
      'session_id',
      'only session_id is supported yet (encoded_endpoint_header, the default of llm-d, needs a header on the response)',
    ),
    sessionIdConfig: object({
      ...sessionShape,
      evictionSweepSeconds: z.number().positive().optional(),
    }).optional(),
    ...sessionShape,
  },
  { profileName: 'there is one profile only', ...sessionHints },
)

interface SessionSource {
  readonly header: HeaderName | undefined
  /** Key in `Candidates.sessions`, where there is no header. */
  readonly attribute: string
}

/** What scorer and filter have in common: the endpoint that the last request of a session went to. */
export class SessionAffinity {
  static readonly WORDS = SessionTable.WORDS
  readonly #sources: readonly SessionSource[]
  readonly #sessions: SessionTable
  #session: string | undefined

  constructor(given: z.output<typeof sessionParameters>) {
    const { sources, evictionTtlSeconds } = given.sessionIdConfig ?? given
    this.#sources = sources.map(({ header, attribute, producer }) => ({
      header: header === undefined ? undefined : headerKey(header),
      attribute: producer ?? attribute ?? '',
    }))
    this.#sessions = new SessionTable(evictionTtlSeconds)
  }

  attach(memory: Int32Array): void {
    this.#sessions.attach(memory)
  }

  /** The slot of the request's session; −1: it has none. */
  find({ headers, sessions, nowMs }: Candidates, table: EndpointTable): number {
    this.#session = undefined
    for (let s = 0; s < this.#sources.length; s++) {
      const { header, attribute } = this.#sources[s]!
      const value = header === undefined ? sessions.get(attribute) : headers?.get(header)
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
