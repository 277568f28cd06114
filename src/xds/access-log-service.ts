/** Envoy's gRPC access log (`envoy.service.accesslog.v3.AccessLogService`): which request ended where it was served, and what the replica said of its load then. */
import { type sendUnaryData, type ServerReadableStream, status } from '@grpc/grpc-js'
import { type AccessLogEntry, readAccessLogs } from './access-log-reader.ts'

export type AccessLogCall = ServerReadableStream<Uint8Array, Uint8Array>
export type AccessLogDone = sendUnaryData<Uint8Array>

const EMPTY = new Uint8Array()

/** Serves one stream of entries. A malformed message ends it with INVALID_ARGUMENT; Envoy opens another. */
export function acceptAccessLogs(
  call: AccessLogCall,
  done: AccessLogDone,
  onEntry: (entry: AccessLogEntry) => void,
): void {
  let over = false
  const finish: AccessLogDone = (error, answer) => {
    if (!over) done(error, answer)
    over = true
  }
  call.on('data', (message: Uint8Array) => {
    if (over) return
    let entries: AccessLogEntry[]
    try {
      entries = readAccessLogs(message)
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      finish({ code: status.INVALID_ARGUMENT, details: `not a StreamAccessLogsMessage: ${reason}` })
      return
    }
    entries.forEach(onEntry)
  })
  call.on('end', () => finish(null, EMPTY))
  // Nothing to do: the other side is gone, and entries that it kept come with its next stream.
  call.on('error', () => undefined)
}
