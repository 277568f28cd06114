import { listenH2 } from '../../grpc/h2/h2-transport.ts'
import { HealthService } from '../../grpc/health-service.ts'
import type { TransportServer } from '../../grpc/transport.ts'

/** gRPC health on a port of its own, in plaintext, as kubelets ask for it. Answers while the data path's threads are busy or gone. */
export class HealthListener {
  readonly #health = new HealthService()
  #server: TransportServer | undefined

  /** Rejects when the address cannot be had. */
  async listen(listen: { readonly host: string; readonly port: number }): Promise<void> {
    this.#server = await listenH2({ services: this.#health.services, listen })
  }

  get address(): string {
    return this.#server?.address ?? ''
  }

  setReady(ready: boolean): void {
    this.#health.setReady(ready)
  }

  async close(): Promise<void> {
    await this.#server?.close()
  }
}
