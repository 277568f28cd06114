/** `ProcessingMode.BodySendMode` (ext_proc v3). */
export const BodyMode = {
  NONE: 0,
  STREAMED: 1,
  BUFFERED: 2,
  BUFFERED_PARTIAL: 3,
  FULL_DUPLEX_STREAMED: 4,
  GRPC: 5,
} as const
export type BodyMode = (typeof BodyMode)[keyof typeof BodyMode]

/** `ProcessingMode.HeaderSendMode`. */
export const HeaderMode = { DEFAULT: 0, SEND: 1, SKIP: 2 } as const
export type HeaderMode = (typeof HeaderMode)[keyof typeof HeaderMode]

/** Field numbers of the oneof in `ProcessingRequest`. */
export const RequestKind = {
  NONE: 0,
  REQUEST_HEADERS: 2,
  RESPONSE_HEADERS: 3,
  REQUEST_BODY: 4,
  RESPONSE_BODY: 5,
  REQUEST_TRAILERS: 6,
  RESPONSE_TRAILERS: 7,
} as const
export type RequestKind = (typeof RequestKind)[keyof typeof RequestKind]
