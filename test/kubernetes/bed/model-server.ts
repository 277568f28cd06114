/** A container's command on the bed: a model server that reads a body to its end, and tells what came and where. */
import { createHash } from 'node:crypto'
import { createServer } from 'node:http'

/** Its answer. */
export interface Served {
  readonly pod: string
  readonly bytes: number
  readonly sha256: string
  /** Headers of the request. */
  readonly model: string | undefined
  readonly destination: string | undefined
}

createServer((request, response) => {
  const hash = createHash('sha256')
  let bytes = 0
  request.on('data', (chunk: Buffer) => {
    hash.update(chunk)
    bytes += chunk.length
  })
  request.on('end', () => {
    const header = (name: string) => request.headers[name]?.toString()
    const served: Served = {
      pod: process.env['POD_NAME'] ?? '',
      bytes,
      sha256: hash.digest('hex'),
      model: header('x-gateway-model-name'),
      destination: header('x-gateway-destination-endpoint'),
    }
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify(served))
  })
}).listen(8000, '0.0.0.0')
