/** The two requests that the conformance table is played with. */
import { frameMessage } from '../../framing.ts'
import { grpcRequest, headerBlock } from '../raw-http2-client.ts'
import type { Fields, RequestForm } from './conformance-case.ts'

/** A call of a method that answers `hello` when the client has finished. */
export function grpcCall(path: string): RequestForm {
  const fields = grpcRequest(path)
  return {
    name: 'gRPC call',
    ...blocks(fields, fields),
    body: (length = 9) => Buffer.from(frameMessage(Buffer.alloc(length - 5, 'x'))),
    answered: true,
  }
}

/** What h2spec itself sends. A gRPC server refuses it; `answered`: with some text. */
export function plainRequest(answered: boolean): RequestForm {
  const fields = { ':method': 'GET', ':scheme': 'http', ':path': '/', ':authority': '127.0.0.1' }
  return {
    name: 'plain request',
    ...blocks(fields, { ...fields, ':method': 'POST' }),
    body: (length = 9) => Buffer.alloc(length, 'x'),
    answered,
  }
}

function blocks(fields: Fields, withBody: Fields): Pick<RequestForm, 'bodiless' | 'withBody' | 'fields'> {
  const block = (base: Fields, change: Fields = {}, more: Fields = {}): Buffer =>
    Buffer.concat([headerBlock(Object.entries({ ...base, ...change })), headerBlock(Object.entries(more))])
  return {
    bodiless: (change, more) => block(fields, change, more),
    withBody: (change, more) => block(withBody, change, more),
    fields,
  }
}
