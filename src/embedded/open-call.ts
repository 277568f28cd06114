import type { Cluster } from './cluster.ts'
import type { CallEvents, ProcessCall } from './ext-proc-client.ts'
import type { ExtProcSettings } from './ext-proc-settings.ts'

export interface OpenedCall {
  readonly call: ProcessCall
  /** Bytes that may wait in the stream before the sender should pause. */
  readonly sendLimit: number
}

/** Opens a stream to an endpoint of the processor's cluster and counts it there; a string says why it can't. */
export function openCall(
  cluster: Cluster | undefined,
  settings: ExtProcSettings,
  events: CallEvents,
  format: (value: string) => string,
): OpenedCall | string {
  const endpoint = cluster?.balanceProcessor()
  if (cluster === undefined || endpoint === undefined) return 'no healthy upstream'
  if (cluster.active >= cluster.settings.maxRequests)
    return 'upstream connect error or disconnect/reset before headers. reset reason: overflow'
  cluster.active++
  let open = true
  const release = (): void => {
    if (open) cluster.active--
    open = false
  }
  const metadata = new Map<string, string>()
  for (const [name, value] of settings.initialMetadata) metadata.set(name, value.includes('%') ? format(value) : value)
  const call = endpoint.processor.open(settings.authority, metadata, {
    message: message => events.message(message),
    closed: (status, text, cause) => {
      release()
      events.closed(status, text, cause)
    },
    drained: () => events.drained(),
  })
  const counted: ProcessCall = {
    send: message => call.send(message),
    get pendingBytes(): number {
      return call.pendingBytes
    },
    finish: polite => {
      release()
      call.finish(polite)
    },
  }
  return { call: counted, sendLimit: cluster.settings.http2.streamWindow }
}
