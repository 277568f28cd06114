import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { selfSigned } from '../../src/grpc/self-signed.ts'

/** Who has a certificate: a server, one whose name is another machine's, a client, and a client that nobody knows. */
const NAMES = {
  server: ['127.0.0.1'],
  elsewhere: ['127.0.0.2'],
  client: ['envoy'],
  stranger: ['envoy'],
} as const

/** Writes `NAME.crt` and `NAME.key` of each into a folder. Each certificate is its own authority. */
export async function writeCertificates(folder: string): Promise<void> {
  for (const [name, names] of Object.entries(NAMES)) {
    const { cert, key } = selfSigned(names)
    await writeFile(join(folder, `${name}.crt`), cert)
    await writeFile(join(folder, `${name}.key`), key)
  }
}
