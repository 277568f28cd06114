import type { ResourceFigures } from '../../kubernetes/kubernetes-source.ts'
import type { Metrics } from '../../telemetry/metrics.ts'

/** The metric families of an API server that is followed. `read` is called for each page. */
export function describeKubernetes(metrics: Metrics, read: () => readonly ResourceFigures[]): void {
  const samples = (value: (figures: ResourceFigures) => number | undefined) => () =>
    read().flatMap(figures => {
      const number = value(figures)
      return number === undefined ? [] : [{ labels: [figures.resource], value: number }]
    })
  const gauge = (name: string, help: string, value: (figures: ResourceFigures) => number | undefined) =>
    metrics.gauge(`signalbox_kubernetes_${name}`, help, ['resource'], samples(value))
  const counter = (name: string, help: string, value: (figures: ResourceFigures) => number) =>
    metrics.counter(`signalbox_kubernetes_${name}_total`, help, ['resource'], samples(value))
  gauge('objects', 'Objects that are known, of pods the ready ones', ({ objects }) => objects)
  gauge('watches', 'Watches that there should be', ({ watches }) => watches)
  gauge('watches_up', 'Watches that work; fewer: the last known state is in force', ({ watching }) => watching)
  gauge('age_seconds', 'Since the API server said anything, even a bookmark', ({ ageSeconds }) => ageSeconds)
  counter('lists', 'Whole lists read', ({ lists }) => lists)
  counter('relists', 'Lists after the first', ({ relists }) => relists)
  counter('events', 'Events of watches', ({ events }) => events)
  counter('errors', 'Failed requests and broken watches', ({ errors }) => errors)
}
