/** Proxies for tests to run on. */
import { type EmbeddedDataPlane, startEmbedded } from '../../src/embedded/embedded.ts'
import { type PlaneOptions, planeResources } from './plane-resources.ts'

export const SILENT = { info: (): void => undefined, error: (): void => undefined }

/** A running proxy of either kind. */
interface TestPlane {
  readonly port: number
  /** A counter by its name below `http.test.`. */
  readonly stat: (name: string) => Promise<number>
  /** Access log lines so far. */
  readonly lines: () => Promise<readonly string[]>
  readonly close: () => Promise<void>
}

export type PlaneStarter = (options: PlaneOptions) => Promise<TestPlane>

export function startPlane(options: PlaneOptions, accessLog?: (line: string) => void): Promise<EmbeddedDataPlane> {
  return startEmbedded({
    resources: planeResources(options),
    log: SILENT,
    ...(accessLog === undefined ? {} : { accessLog }),
    ...(options.gracefulGrpcClose === undefined ? {} : { gracefulGrpcClose: options.gracefulGrpcClose }),
  })
}

export const startEmbeddedPlane: PlaneStarter = async options => {
  const lines: string[] = []
  const plane = await startPlane(options, line => lines.push(line))
  return {
    port: portOf(plane),
    stat: name => Promise.resolve(plane.stats()[`http.test.${name}`] ?? 0),
    lines: () => Promise.resolve(lines),
    close: () => plane.close(0),
  }
}

export function portOf(plane: EmbeddedDataPlane): number {
  return plane.listeners[0]?.port ?? 0
}
