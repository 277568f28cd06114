import type { PluginKit } from 'signalbox/plugins'

/** Prefers replicas by a label: new hardware, a canary … */
export const plugins = ({ scorer, z }: PluginKit) => [
  scorer('label-value-scorer', { label: z.string(), value: z.string() }, ({ label, value }) => ({
    score({ count, slots }, endpoints, scores) {
      for (let i = 0; i < count; i++) scores[i] = endpoints.labels(slots[i]!)?.[label] === value ? 1 : 0
    },
  })),
]
