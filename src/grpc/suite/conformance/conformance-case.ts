/** What one case of the HTTP/2 conformance table is, and which outcomes a case may wait for. */
import { END_STREAM, FrameType } from '../raw-http2-client.ts'
import type { Frame, RawHttp2Client } from '../raw-http2-client.ts'
import type { ErrorCode } from '../frames.ts'
import { pingPayload } from '../frames.ts'

/** Something that the server must do. Looked at after every frame, and when the connection ends. */
export interface Outcome {
  readonly what: string
  /** `since`: what came after the previous outcome of the case, or after the handshake. */
  readonly seen: (since: readonly Frame[], client: RawHttp2Client) => boolean
}

/** Bytes may depend on what the server announced. */
export type Step = Uint8Array | Outcome | ((client: RawHttp2Client) => Uint8Array)

export interface ConformanceCase {
  /** Group, section and place in h2spec, as its reports count: `http2/6.1/2`. */
  readonly id: string
  readonly name: string
  /** What asks for the outcome. */
  readonly rfc: string
  /** `bare`: the case starts on a connection on which nothing was sent. Absent: after the handshake. */
  readonly start?: 'bare'
  /** Bytes to write (neighbours go out together) and outcomes to wait for. */
  readonly steps: readonly Step[]
  /** The case watches flow control of an answer, so the request must be answered with DATA. */
  readonly needsBody?: true
}

/** The request that the cases are played with. */
export interface RequestForm {
  readonly name: string
  /** Header blocks of a request without and with a body. `more`: fields behind them; `change`: other values of their fields. */
  bodiless(change?: Fields, more?: Fields): Buffer
  withBody(change?: Fields, more?: Fields): Buffer
  /** A body of `length` bytes, 9 at the least. */
  body(length?: number): Buffer
  /** The fields of a request without a body, in order. */
  readonly fields: Fields
  /** It is answered with at least five bytes of DATA. */
  readonly answered: boolean
}

export type Fields = Readonly<Record<string, string>>

/** Streams that the server under test allows at a time. */
export const MAX_STREAMS = 20

/** A connection error (RFC 9113 §5.4.1): the connection ends, and a GOAWAY that came before has one of the codes. */
export function connectionError(...codes: readonly ErrorCode[]): Outcome {
  return {
    what: `connection error ${codes.join(' or ')}`,
    seen: (since, client) => client.closed && goawayAllows(since, codes),
  }
}

/** A stream error (RFC 9113 §5.4.2), which a server may also treat as a connection error. */
export function streamError(stream: number, ...codes: readonly ErrorCode[]): Outcome {
  return {
    what: `stream ${stream} reset with ${codes.join(' or ')}, or a connection error`,
    seen: (since, client) =>
      since.some(frame => isReset(frame, stream, codes)) || (client.closed && goawayAllows(since, codes)),
  }
}

/** Only a reset of the stream will do. */
export function reset(stream: number, code: ErrorCode): Outcome {
  return { what: `stream ${stream} reset with ${code}`, seen: since => since.some(f => isReset(f, stream, [code])) }
}

/** Only a GOAWAY will do. */
export function goawayWith(code: ErrorCode): Outcome {
  return {
    what: `GOAWAY ${code}`,
    seen: since => since.some(({ type, payload }) => type === FrameType.GOAWAY && payload.readUInt32BE(4) === code),
  }
}

export const closed: Outcome = { what: 'the end of the connection', seen: (_since, client) => client.closed }

export const serverPreface: Outcome = {
  what: 'SETTINGS as the first frame',
  seen: since => since[0]?.type === FrameType.SETTINGS && since[0].flags === 0,
}

export const settingsAck: Outcome = {
  what: 'SETTINGS ACK',
  seen: since => since.some(({ type, flags }) => type === FrameType.SETTINGS && flags === 1),
}

/** The first PING that comes must be the answer to ours. */
export function pong(opaque = ''): Outcome {
  const expected = pingPayload(opaque)
  return {
    what: `PING ACK '${opaque}'`,
    seen: since => {
      const first = since.find(({ type }) => type === FrameType.PING)
      return first !== undefined && first.flags === 1 && first.payload.equals(expected)
    },
  }
}

export function pongOrClosed(opaque = ''): Outcome {
  const { what, seen } = pong(opaque)
  return { what: `${what}, or the end of the connection`, seen: (since, c) => c.closed || seen(since, c) }
}

/** Response headers. */
export function answered(stream: number): Outcome {
  return {
    what: `HEADERS of stream ${stream}`,
    seen: since => since.some(frame => frame.type === FrameType.HEADERS && frame.stream === stream),
  }
}

/** The first DATA frame that comes has this length; without one, any will do. */
export function dataOf(stream: number, length?: number): Outcome {
  return {
    what: `DATA of ${length ?? 'some'} bytes on stream ${stream}`,
    seen: since => {
      const first = since.find(frame => frame.type === FrameType.DATA && frame.stream === stream)
      return first !== undefined && (length === undefined || first.payload.length === length)
    },
  }
}

/** The server is done with the stream. */
export function finished(stream: number): Outcome {
  return {
    what: `the end of stream ${stream}`,
    seen: since =>
      since.some(
        frame =>
          isReset(frame, stream, [0]) ||
          (frame.stream === stream && frame.type <= FrameType.HEADERS && (frame.flags & END_STREAM) !== 0),
      ),
  }
}

/** A parameter of the server's SETTINGS. */
export function announced(client: RawHttp2Client, setting: number, otherwise: number): number {
  let value = otherwise
  for (const { payload } of client.of(FrameType.SETTINGS)) {
    for (let at = 0; at < payload.length; at += 6) {
      if (payload.readUInt16BE(at) === setting) value = payload.readUInt32BE(at + 2)
    }
  }
  return value
}

function isReset({ type, stream, payload }: Frame, of: number, codes: readonly ErrorCode[]): boolean {
  return (
    type === FrameType.RST_STREAM && stream === of && (codes as readonly number[]).includes(payload.readUInt32BE(0))
  )
}

function goawayAllows(since: readonly Frame[], codes: readonly ErrorCode[]): boolean {
  const last = since.findLast(({ type }) => type === FrameType.GOAWAY)
  return last === undefined || (codes as readonly number[]).includes(last.payload.readUInt32BE(4))
}
