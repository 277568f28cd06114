import type { LocalReply } from './filter-host.ts'
import { HeaderList, removeHopByHop } from './header-list.ts'
import type { MessageSink } from './message-sink.ts'

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
