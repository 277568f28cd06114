import { isIP } from 'node:net'
import type { PeerPlaces } from '../../peers/peer-addresses.ts'
import { UsageError } from '../command.ts'
import { parseListen, parseReachable } from '../options.ts'

/** Other replicas of Signalbox, side by side with this one. */
export interface PeerServing {
  readonly places: PeerPlaces
  readonly listen: { readonly host: string; readonly port: number }
  readonly tls: { readonly certFile: string; readonly keyFile: string; readonly caFile: string } | undefined
}

/** For `parseOptions`. */
export const PEER_OPTIONS = {
  peers: { type: 'string' },
  'peer-listen': { type: 'string' },
  'peer-tls': { type: 'string' },
} as const

export const PEER_HELP = `  --peers LIST             other replicas of Signalbox, to be told what is in flight here and which prompts went where, so that several place
                           nearly as well as one: HOST:PORT,… or dns:NAME:PORT for a headless Service. This one may be among them
  --peer-listen HOST:PORT  where they reach this one (with --peers)
  --peer-tls CERT,KEY,CA   both sides show a certificate that CA has signed (with --peers) [plaintext]`

/** Undefined: none. @throws UsageError */
export function parsePeers(
  values: Readonly<Partial<Record<keyof typeof PEER_OPTIONS, string>>>,
): PeerServing | undefined {
  const { peers, 'peer-listen': listen, 'peer-tls': tls } = values
  if (peers === undefined) {
    const [lonely] =
      Object.entries({ 'peer-listen': listen, 'peer-tls': tls }).find(([, value]) => value !== undefined) ?? []
    if (lonely !== undefined) throw new UsageError(`--${lonely} needs --peers`)
    return undefined
  }
  if (listen === undefined) throw new UsageError('--peers needs --peer-listen: where the others reach this one')
  return { places: parsePlaces(peers), listen: parseListen(listen, '--peer-listen'), tls: parseTls(tls) }
}

function parsePlaces(text: string): PeerPlaces {
  const parts = text.split(',')
  if (parts.length > 1 && parts.some(part => part.startsWith('dns:')))
    throw new UsageError('--peers: dns:NAME:PORT stands alone; give either that or a list of HOST:PORT')
  if (!text.startsWith('dns:'))
    return { kind: 'list', addresses: parts.map(address => parseReachable(address, '--peers')) }
  const place = text.slice('dns:'.length)
  parseReachable(place, '--peers')
  const colon = place.lastIndexOf(':')
  const name = place.slice(0, colon)
  if (isIP(name) !== 0 || name.startsWith('['))
    throw new UsageError(`--peers: '${name}' is an address, no name to look up`)
  return { kind: 'dns', name, port: Number(place.slice(colon + 1)) }
}

function parseTls(text: string | undefined): PeerServing['tls'] {
  if (text === undefined) return undefined
  const [certFile, keyFile, caFile, more] = text.split(',')
  if (!certFile || !keyFile || !caFile || more !== undefined)
    throw new UsageError(`--peer-tls: '${text}' is not CERTFILE,KEYFILE,CAFILE`)
  return { certFile, keyFile, caFile }
}
