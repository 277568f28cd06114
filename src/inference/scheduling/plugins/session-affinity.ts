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

const DEFAULT_SOURCES: z.output<typeof source>[] = [{ header: 'x-session-id' }]
const DEFAULT_TTL_SECONDS = 300
const TOKEN_HEADER = 'x-session-token'

const sessionShape = {
  /** The first that the request has names its session. None: as where they are not said. */
  sources: z
    .array(source)
    .transform(sources => (sources.length === 0 ? DEFAULT_SOURCES : sources))
    .default(DEFAULT_SOURCES),
  /** A session that was idle for so long has no endpoint any more. 0: as where it is not said. */
  evictionTtlSeconds: z
    .number()
    .min(0)
    .transform(seconds => (seconds === 0 ? DEFAULT_TTL_SECONDS : seconds))
    .default(DEFAULT_TTL_SECONDS),
}
const sessionHints = { evictionSweepSeconds: 'not needed: sessions age without being swept' }

/** Of the scorer and of the filter: what `sessionIdConfig` says may stand beside `strategy` too. */
export const sessionParameters = object(
  {
    /**
     * Who remembers the endpoint: the client, which gets its name with a response and sends it with the next request, or we, by
     * what names the session.
     */
    strategy: z.enum(['encoded_endpoint_header', 'session_id']).default('encoded_endpoint_header'),
    encodedEndpointHeaderConfig: object({ header: headerNameSchema.optional() }).optional(),
    /** Former name of the header above. */
    headerName: headerNameSchema.optional(),
    sessionIdConfig: object({
      ...sessionShape,
      evictionSweepSeconds: z.number().min(0).optional(),
    }).optional(),
    ...sessionShape,
    /** Profile whose endpoint the session has. Default: the primary one. */
    profileName: z.string().min(1).optional(),
  },
  { ...sessionHints },
)

export type SessionParameters = z.output<typeof sessionParameters>

/** The header that carries tokens both ways; undefined: the strategy has none. */
export function tokenHeader(given: SessionParameters): string | undefined {
  if (given.strategy !== 'encoded_endpoint_header') return undefined
  return (given.encodedEndpointHeaderConfig?.header ?? given.headerName ?? TOKEN_HEADER).toLowerCase()
}

interface SessionSource {
  readonly header: HeaderName | undefined
  /** Key in `Candidates.sessions`, where there is no header. */
  readonly attribute: string
}

/** What scorer and filter have in common: the endpoint that the last request of a session went to. */
export interface SessionAffinity {
  /** 32-bit words that all threads share. */
  readonly words: number
  attach(memory: Int32Array): void
  /** The slot of the request's session; −1: it has none. */
  find(candidates: Candidates, table: EndpointTable): number
  /** The request of the last `find` goes to this candidate. */
  chosen(candidates: Candidates, table: EndpointTable, choice: number): void
}

export function sessionAffinity(given: SessionParameters): SessionAffinity {
  const header = tokenHeader(given)
  return header === undefined ? new RememberedSessions(given) : new TokenSessions(headerKey(header))
}

/** The client says where it was; it is told with the response (src/pipeline/session-headers.ts). */
class TokenSessions implements SessionAffinity {
  readonly words = 0
  readonly #header: HeaderName

  constructor(header: HeaderName) {
    this.#header = header
  }

  attach(): void {
    // Nothing is remembered.
  }

  find({ headers }: Candidates, { sessionTokens }: EndpointTable): number {
    const token = headers?.get(this.#header)
    return token === undefined || sessionTokens === undefined ? -1 : sessionTokens.slotOf(token)
  }

  chosen(): void {
    // Nothing is remembered.
  }
}

class RememberedSessions implements SessionAffinity {
  readonly words = SessionTable.WORDS
  readonly #sources: readonly SessionSource[]
  readonly #sessions: SessionTable
  #session: string | undefined

  constructor(given: SessionParameters) {
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

  chosen({ slots, nowMs }: Candidates, table: EndpointTable, choice: number): void {
    if (this.#session !== undefined) this.#sessions.set(this.#session, nowMs, slots[choice]!, table)
  }
}
