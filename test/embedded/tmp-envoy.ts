import type { JsonObject } from '@bufbuild/protobuf'
import { startEnvoy } from '../../src/cli/envoy/envoy-process.ts'
import { planeResources } from './plane-resources.ts'
import type { PlaneStarter } from './planes.ts'

/** Everything static: what `planeResources` gives by EDS and RDS, in place. */
function bootstrapOf(options: Parameters<PlaneStarter>[0]): JsonObject {
  const { listeners, routes, clusters, endpoints } = planeResources(options)
  const text = JSON.stringify(listeners).replace(
    '"rds":{"routeConfigName":"r","configSource":{"ads":{}}}',
    `"routeConfig":${JSON.stringify(routes[0])}`,
  )
  const plain = clusters.map((cluster): JsonObject => {
    const assignment = endpoints.find(item => item['clusterName'] === cluster['name'])
    if (assignment === undefined) return cluster
    const { edsClusterConfig: _eds, ...rest } = cluster
    return { ...rest, type: 'STATIC', loadAssignment: assignment }
  })
  return { staticResources: { listeners: JSON.parse(text) as JsonObject[], clusters: plain } }
}

export const startEnvoyPlane = (binary: string): PlaneStarter => async options => {
    const envoy = await startEnvoy({ binary, bootstrap: bootstrapOf(options), concurrency: 1 })
    await envoy.ready()
    const answer = await fetch(`${envoy.adminUrl}/listeners?format=json`)
    const { listener_statuses: statuses } = (await answer.json()) as {
      listener_statuses: { local_address: { socket_address: { port_value: number } } }[]
    }
    return {
      port: statuses[0]!.local_address.socket_address.port_value,
      stat: async name => {
        const line = await (await fetch(`${envoy.adminUrl}/stats?filter=^http.test.${name}$`)).text()
        return Number(line.split(': ')[1] ?? 0)
      },
      lines: async () => (await envoy.log()).split('\n').filter(line => line.startsWith('{')),
      close: async () => {
        await envoy.stop()
      },
    }
  }
