import type { JsonObject } from '@bufbuild/protobuf'
import type { CallEvents } from './ext-proc-client.ts'
import type { ExtProcSettings } from './ext-proc-settings.ts'
import type { HeaderList } from './header-list.ts'
import type { MessageSink } from './message-sink.ts'
import type { OpenedCall } from './open-call.ts'
import type { Stats } from './stats.ts'

/** A response made here. The body's content-length and `:status` are set by the receiver. */
export interface LocalReply {
  readonly status: number
  readonly details: string
  readonly headers?: HeaderList
  readonly body?: Uint8Array
}

/** The exchange around the filter. */
export interface FilterHost {
  readonly stats: Stats
  /** Dynamic metadata by namespace; the filter merges into it. */
  readonly metadata: Map<string, JsonObject>
  /** A string: no endpoint could be asked, with the gRPC message that says why. */
  openCall(settings: ExtProcSettings, events: CallEvents): OpenedCall | string
  attributes(names: readonly string[]): JsonObject
  /** Answers the client without going through the filter; resets the client when its response headers have left. */
  localReply(reply: LocalReply): void
  /** Takes a response that the processor streams; the upstream is not asked. */
  takeOver(): MessageSink
  clearRoute(): void
  /** Logs why an answer of the processor was refused. */
  report(reason: string): void
}

/** Options of the process, not of the filter. */
export interface FilterOptions {
  readonly gracefulClose: boolean
}
