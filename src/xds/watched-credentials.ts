import { ServerCredentials } from '@grpc/grpc-js'
import { TlsCredentials, type TlsOptions } from '../grpc/tls.ts'

/** Credentials of a grpc-js server whose certificate files are read again when they change; connections live on. */
export class WatchedCredentials extends ServerCredentials {
  readonly #credentials: TlsCredentials

  private constructor(credentials: TlsCredentials) {
    const { requestCert, rejectUnauthorized, ...context } = credentials.serverOptions()
    super({ requestCert, rejectUnauthorized }, context)
    this.#credentials = credentials
  }

  /** Rejects when the files cannot be used. `onError`: a later content of theirs cannot be; the earlier stays. */
  static async load(options: TlsOptions, onError: (error: unknown) => void): Promise<WatchedCredentials> {
    const credentials = await TlsCredentials.load(options)
    const watched = new WatchedCredentials(credentials)
    credentials.watch(context => watched.updateSecureContextOptions(context), onError)
    return watched
  }

  close(): void {
    this.#credentials.close()
  }

  override _equals(other: ServerCredentials): boolean {
    return this === other
  }
}
