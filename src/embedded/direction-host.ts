import type { HeaderMutation } from '../gen/envoy/service/ext_proc/v3/external_processor_pb.ts'
import type { Direction } from './ext-proc-direction.ts'
import type { HeaderList } from './header-list.ts'

/** What a direction asks of the filter. Any call may end the filter, after which the direction is `aside` or dead. */
export interface DirectionHost {
  sendHeaders(direction: Direction, headers: HeaderList, end: boolean): void
  sendBody(direction: Direction, bytes: Uint8Array, end: boolean): void
  sendTrailers(direction: Direction, trailers: HeaderList): void
  /** False: the mutation was an error and the exchange is over. */
  mutate(direction: Direction, headers: HeaderList, mutation: HeaderMutation, replacing: boolean): boolean
  /** After an answer that may re-select the route. */
  routeAnswer(direction: Direction, mutated: boolean, clear: boolean): void
  /** `reason` is for our log, `details` are Envoy's; default `spurious_message`. */
  spurious(reason: string, details?: string): void
  fail(details: string): void
  timeout(): void
  overflow(direction: Direction): void
}
