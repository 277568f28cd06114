/** Certificates of a listener: made at start, or read from files that are watched. */
import { constants } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import { createSecureContext } from 'node:tls'
import type { SecureContextOptions, TLSSocket } from 'node:tls'
import { selfSigned } from './self-signed.ts'

export interface TlsOptions {
  readonly certificate:
    | { readonly kind: 'self-signed'; readonly names?: readonly string[] }
    /** PEM files: the chain, leaf first, and its key. */
    | { readonly kind: 'files'; readonly certFile: string; readonly keyFile: string }
  /** PEM file with the authorities of client certificates. Present: a client must show a valid one, unless `clientOptional`. */
  readonly clientCaFile?: string
  /** A client may come without a certificate; one that is shown must be valid all the same. */
  readonly clientOptional?: boolean
  /** How often the files are looked at, ms; 0 = never again. Default 5,000. */
  readonly reloadMs?: number
  /** Default TLS 1.2. */
  readonly minVersion?: 'TLSv1.2' | 'TLSv1.3'
  /** Suites as OpenSSL's list. Default: node's. */
  readonly ciphers?: string
}

/** What `tls.Server.setSecureContext` takes. */
type ContextOptions = Pick<SecureContextOptions, 'cert' | 'key' | 'ca' | 'minVersion' | 'ciphers' | 'secureOptions'>

/**
 * The current certificate pair. Files are polled by time and size rather than watched: Kubernetes replaces a mounted secret by
 * exchanging a symbolic link, which watchers miss.
 */
export class TlsCredentials {
  private readonly options: TlsOptions
  private current: ContextOptions
  private stamp: string
  private timer: NodeJS.Timeout | undefined

  private constructor(options: TlsOptions, current: ContextOptions, stamp: string) {
    this.options = options
    this.current = current
    this.stamp = stamp
  }

  /** Rejects when a file is missing, is no PEM, or when key and certificate do not belong together. */
  static async load(options: TlsOptions): Promise<TlsCredentials> {
    const stamp = await stampOf(options)
    const { certificate } = options
    const made =
      certificate.kind === 'self-signed'
        ? selfSigned(certificate.names ?? ['localhost', '127.0.0.1', '::1'])
        : undefined
    return new TlsCredentials(options, await readContext(options, made), stamp)
  }

  /** Options for `http2.createSecureServer`. */
  serverOptions(): ContextOptions & { requestCert: boolean; rejectUnauthorized: boolean } {
    const verifies = this.options.clientCaFile !== undefined
    return {
      ...this.current,
      requestCert: verifies,
      rejectUnauthorized: verifies && this.options.clientOptional !== true,
    }
  }

  /** True for the client that node lets pass when certificates are optional: one that shows a bad one. */
  refuses(socket: Pick<TLSSocket, 'authorized' | 'getPeerX509Certificate'>): boolean {
    return this.options.clientOptional === true && !socket.authorized && socket.getPeerX509Certificate() !== undefined
  }

  /**
   * Calls `apply` with every new usable content of the files: new handshakes use it, connections live on. A content that cannot
   * be used is reported once and changes nothing.
   */
  watch(apply: (context: ContextOptions) => void, onError: (error: unknown) => void): void {
    if (filesOf(this.options).length === 0 || this.options.reloadMs === 0) return
    let reported = ''
    const look = async (): Promise<void> => {
      try {
        const stamp = await stampOf(this.options)
        if (stamp === this.stamp) return
        this.stamp = stamp
        const made = this.options.certificate.kind === 'self-signed' ? this.current : undefined
        this.current = await readContext(this.options, made)
        if (this.timer !== undefined) apply(this.current)
        reported = ''
      } catch (error) {
        // A missing file fails at every look.
        if (String(error) !== reported) onError(error)
        reported = String(error)
      }
    }
    this.timer = setInterval(() => void look(), this.options.reloadMs ?? 5000).unref()
  }

  close(): void {
    clearInterval(this.timer)
    this.timer = undefined
  }
}

function filesOf({ certificate, clientCaFile }: TlsOptions): string[] {
  return [
    ...(certificate.kind === 'files' ? [certificate.certFile, certificate.keyFile] : []),
    ...(clientCaFile === undefined ? [] : [clientCaFile]),
  ]
}

async function stampOf(options: TlsOptions): Promise<string> {
  const stats = await Promise.all(filesOf(options).map(file => stat(file, { bigint: true })))
  return stats.map(({ mtimeNs, size, ino }) => `${mtimeNs}:${size}:${ino}`).join(' ')
}

async function readContext(
  options: TlsOptions,
  made: Pick<ContextOptions, 'cert' | 'key'> | undefined,
): Promise<ContextOptions> {
  const { certificate, clientCaFile } = options
  const pair =
    certificate.kind === 'files'
      ? { cert: await readFile(certificate.certFile), key: await readFile(certificate.keyFile) }
      : { cert: made!.cert!, key: made!.key! }
  const context: ContextOptions = {
    ...pair,
    ...(clientCaFile === undefined ? {} : { ca: await readFile(clientCaFile) }),
    minVersion: options.minVersion ?? 'TLSv1.2',
    ...(options.ciphers === undefined ? {} : { ciphers: options.ciphers }),
    // RFC 9113 §9.2.1 forbids it, and node only limits it by an error that leaves the connection open.
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
  }
  // Throws on anything that a handshake could not use, a key of another certificate included.
  createSecureContext(context)
  return context
}
