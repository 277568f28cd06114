import { X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { UpstreamTls } from '../../compile/envoy/clusters.ts'
import type { TlsOptions } from '../../grpc/tls.ts'
import type { Log } from '../../telemetry/log.ts'
import type { ServeOptions } from './options.ts'
import { startsWith } from './start-error.ts'

/** How the Envoys of our fleet speak to a service of ours over TLS. `verified`: its certificate has an authority. @throws StartError */
export async function upstreamTls(
  { tlsCaFile, tlsClient, xds, embedded }: ServeOptions,
  log: Log,
  verified: boolean,
): Promise<UpstreamTls> {
  const own = tlsClient === undefined ? {} : { clientCertificate: tlsClient }
  if (tlsCaFile === undefined || !verified) {
    if (xds !== undefined || embedded) log.warn('Envoys do not verify our certificate: no --tls-ca')
    return own
  }
  const ca = await startsWith('--tls-ca', async () => {
    const pem = await readFile(tlsCaFile, 'utf8')
    // Throws for what is no certificate: better here than as a refused cluster in every Envoy.
    void new X509Certificate(pem)
    return pem
  })
  return { ca, ...own }
}

/** How ext_proc is served; undefined: plaintext. */
export function extProcTls({ tls, clientCaFile, trust, picker }: ServeOptions): TlsOptions | undefined {
  if (tls === 'off') return undefined
  return {
    certificate: tls === 'self-signed' ? { kind: 'self-signed' } : { kind: 'files', ...tls },
    // Where it only tells Envoys from others, a certificate may be missing.
    ...(clientCaFile === undefined ? {} : { clientCaFile, clientOptional: trust === 'verified' }),
    ...picker?.tls,
  }
}
