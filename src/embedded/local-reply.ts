import { Buffer } from 'node:buffer'
import type { LogRecord } from './access-log.ts'
import type { LocalReply } from './filter-host.ts'
import { applyHeaderEdits } from './header-edits.ts'
import { HeaderList, removeHopByHop } from './header-list.ts'
import type { MessageSink } from './message-sink.ts'
import type { ReplyMapper } from './read-local-replies.ts'

/** Gives a response made here to a sink. */
export function writeReply(sink: MessageSink, reply: LocalReply): void {
  const headers = new HeaderList([[':status', String(reply.status)]])
  const body = reply.body ?? new Uint8Array()
  for (const [name, value] of reply.headers ?? []) if (!name.startsWith(':')) headers.add(name, value)
  removeHopByHop(headers)
  if (body.length > 0) {
    headers.set('content-length', String(body.length))
    if (!headers.has('content-type')) headers.add('content-type', 'text/plain')
  } else headers.remove('content-length')
  sink.headers(headers, body.length === 0)
  if (body.length > 0) sink.data(body, true)
}

/** The reply as the connection manager's mappers want it. `record`: as far as it is known, with the reply's status. */
export function mapReply(mappers: readonly ReplyMapper[], reply: LocalReply, record: LogRecord): LocalReply {
  const mapper = mappers.find(({ matches }) => matches(record))
  if (mapper === undefined) return reply
  const headers = reply.headers?.clone() ?? new HeaderList([])
  applyHeaderEdits(headers, mapper.headers, value => value)
  if (mapper.body !== undefined) headers.set('content-type', mapper.contentType)
  const body = mapper.body === undefined ? reply.body : Buffer.from(mapper.body(record))
  return {
    status: mapper.status ?? reply.status,
    details: reply.details,
    headers,
    ...(body === undefined ? {} : { body }),
  }
}
