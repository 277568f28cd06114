import { X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { compileBootstrap } from '../compile/bootstrap.ts'
import type { UpstreamTls } from '../compile/envoy/clusters.ts'
import { type Command, UsageError } from './command.ts'
import { parseOptions, parsePair, parseReachable } from './options.ts'
import { explainSystemError } from './system-error.ts'

export const bootstrapCommand: Command = {
  summary: 'prints the bootstrap of an Envoy that gets everything else from Signalbox',
  help: `Usage: signalbox bootstrap [--xds HOST:PORT] [--node ID] [--cluster NAME] [--admin HOST:PORT] [--tls-ca FILE]

Prints a bootstrap as JSON, for 'envoy -c'.

  --xds HOST:PORT     where Envoy reaches Signalbox' xDS server [127.0.0.1:18000]
  --node ID           Envoy's node id [envoy]
  --cluster NAME      Envoy's node cluster [signalbox]
  --admin HOST:PORT   Envoy's admin interface [127.0.0.1:9901]
  --tls-ca FILE       speak TLS ('serve --xds-tls'), and verify Signalbox' certificate and name by this authority; becomes part of the bootstrap
  --tls-client CERT,KEY   files on Envoy's machine with the certificate that it shows ('serve --xds-client-ca')
`,
  async run(argv, { stdout }) {
    const { values } = parseOptions(argv, {
      xds: { type: 'string', default: '127.0.0.1:18000' },
      node: { type: 'string', default: 'envoy' },
      cluster: { type: 'string', default: 'signalbox' },
      admin: { type: 'string', default: '127.0.0.1:9901' },
      'tls-ca': { type: 'string' },
      'tls-client': { type: 'string' },
    })
    const { node: nodeId, cluster } = values
    const xds = parseReachable(values.xds, '--xds')
    const admin = parseReachable(values.admin, '--admin')
    if (nodeId === '' || cluster === '')
      throw new UsageError('--node and --cluster must not be empty: Envoy needs both')
    const tls = await xdsTls(values['tls-ca'], values['tls-client'])
    const upstream = { addresses: [xds], ...(tls === undefined ? {} : { tls }) }
    stdout.write(`${JSON.stringify(compileBootstrap({ nodeId, cluster, admin, xds: upstream }), null, 2)}\n`)
    return 0
  },
}

/** An Envoy obeys its management server in everything: no TLS without verifying who that is. */
async function xdsTls(caFile: string | undefined, client: string | undefined): Promise<UpstreamTls | undefined> {
  const clientCertificate = client === undefined ? undefined : parsePair(client)
  if (client !== undefined && clientCertificate === undefined)
    throw new UsageError(`--tls-client: '${client}' is not CERTFILE,KEYFILE`)
  if (caFile === undefined) {
    if (client !== undefined) throw new UsageError('--tls-client needs --tls-ca')
    return undefined
  }
  const ca = await readAuthority(caFile)
  return { ca, ...(clientCertificate === undefined ? {} : { clientCertificate }) }
}

async function readAuthority(file: string): Promise<string> {
  try {
    const pem = await readFile(file, 'utf8')
    // Throws for what is no certificate: better here than at an Envoy's start.
    void new X509Certificate(pem)
    return pem
  } catch (error) {
    throw new UsageError(`--tls-ca: ${explainSystemError((error as Error).message)}`)
  }
}
