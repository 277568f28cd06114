import { UsageError } from '../command.ts'
import { isFleet } from './is-fleet.ts'
import type { ServeOptions } from './options.ts'
import { refusePorts } from './own-addresses.ts'

/** Options that would have no effect, or one that nobody can want. @throws UsageError */
export function refuseContradictions(options: ServeOptions): void {
  const { tls, clientCaFile, xdsTls, tlsCaFile, tlsClient, pool, modeOverride, advertise } = options
  const fleet = isFleet(options)
  refusePorts(options)
  const require = (option: string, given: boolean, holds: boolean, what: string) => {
    if (given && !holds) throw new UsageError(`${option} ${what}`)
  }
  const ours = 'is for Envoys that we configure: not with --xds off'
  require('--client-ca', clientCaFile !== undefined, tls !== 'off', 'needs --tls')
  const verifiable = typeof tls === 'object' || xdsTls !== undefined
  const asked = clientCaFile !== undefined || xdsTls?.clientCaFile !== undefined
  require('--tls-ca', tlsCaFile !== undefined, verifiable, 'needs --tls CERTFILE,KEYFILE or --xds-tls')
  require('--trust verified', options.trust === 'verified', options.transport === 'own', 'needs --transport own')
  require('--trust verified', options.trust === 'verified', clientCaFile !== undefined, 'needs --client-ca')
  require('--tls-client', tlsClient !== undefined, asked, 'needs --client-ca or --xds-client-ca')
  require('--tls-ca', tlsCaFile !== undefined, fleet, ours)
  require('--tls-client', tlsClient !== undefined, fleet, ours)
  require('--advertise', advertise !== undefined, fleet, ours)
  require('--xds-tls', xdsTls !== undefined, options.xds !== undefined, 'has nothing to encrypt with --xds off')
  const logs = xdsTls?.clientCaFile !== undefined && options.accessLogService
  require('--xds-client-ca', logs, tlsClient !==
    undefined, 'needs --tls-client: without a certificate Envoys could not send their access logs (or --access-log-service off)')
  const dumb = 'needs --tls-client: without a certificate the Envoys that we configure could not reach ext_proc'
  require('--client-ca', clientCaFile !== undefined && fleet, tlsClient !== undefined, dumb)
  const told = options.records.explainClientsFile !== undefined
  const known = clientCaFile !== undefined || 'path' in options.extProc
  require('--explain-clients-file', told, known, 'needs --client-ca (or --ext-proc unix:PATH): else anybody who reaches us could say that he has such a certificate')
  require('--explain-clients-file', told, !fleet, 'is for gateways that ask clients for certificates: our own fleet does not; not with --xds or --embedded')
  require('--mode-override', modeOverride !== 'none', pool !== undefined ||
    options.picker !== undefined, 'needs --pool: our own fleet sends what is needed')
}
