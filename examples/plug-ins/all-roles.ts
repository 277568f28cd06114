import type { PluginKit } from 'signalbox/plugins'

/** How often each endpoint was picked, by this thread. Hooks see the end of each request, so that it falls again. */
const open = new Map<string, number>()

/** One of each further role. Each stands for itself: copy what you need. */
export const plugins = (kit: PluginKit) => [
  // Producer: finds something out about the candidates, under a name that filters and scorers then ask for.
  kit.producer('open-requests-producer', {}, () => ({
    produce(candidates, table) {
      const column = candidates.column('open-requests')
      for (let i = 0; i < candidates.count; i++) column[i] = open.get(table.address(candidates.slots[i]!) ?? '') ?? 0
    },
  })),
  kit.scorer('open-requests-scorer', {}, () => ({
    score(candidates, _table, scores) {
      const column = candidates.column('open-requests')
      for (let i = 0; i < candidates.count; i++) scores[i] = 1 / (1 + column[i]!)
    },
  })),

  // Screener: leaves endpoints out for the whole request, before any profile runs.
  kit.screener('tier-screener', { header: kit.z.string() }, ({ header }) => {
    const name = kit.headerName(header)
    let tiers: (string | undefined)[] = []
    return {
      adopt: table => void (tiers = Array.from({ length: table.capacity }, (_, slot) => table.labels(slot)?.['tier'])),
      screen({ count, slots, headers }, kept) {
        const wanted = headers?.common(name)
        if (wanted !== undefined) for (let i = 0; i < count; i++) kept[i] = tiers[slots[i]!] === wanted ? 1 : 0
      },
    }
  }),

  // Admitter: may refuse a request (429) when its candidates are known.
  kit.admitter('prompt-size-admitter', { tokens: kit.z.number() }, ({ tokens }) => ({
    admits: ({ promptTokens }, priority) => priority >= 0 || promptTokens <= tokens,
  })),

  // Saturation detector: how full the pool is; 1 = as full as it should be.
  kit.saturationDetector('running-detector', { most: kit.z.number().positive() }, ({ most }) => ({
    saturation(table, slots, count) {
      let running = 0
      for (let i = 0; i < count; i++) running += table.running[slots[i]!]! + table.unseen(slots[i]!)
      return running / (most * count)
    },
  })),

  // Flow control: which flow of a band goes next, which request of a flow, and how full the pool may be for each band.
  kit.fairness('shortest-flow-policy', {}, () => ({
    next: flows => flows.reduce((best, flow) => (flow.entries.size < best.entries.size ? flow : best)),
  })),
  kit.ordering(
    'small-first-policy',
    {},
    () =>
      ({ bytes }) =>
        bytes,
  ),
  kit.usageLimit('half-for-others-policy', {}, () => ({
    ceilings: (_saturation, priorities, ceilings) => {
      for (let i = 0; i < priorities.length; i++) ceilings[i] = i === 0 ? 1 : 0.5
    },
  })),

  // Parser: paths of an API of one's own, and what their bodies must have.
  kit.parser('ask-parser', {
    'v2/ask': { name: 'ask', needsModel: true, required: { name: 'prompt', form: 'text' } },
  }),

  // Data source: a page of the replicas, whose values become attributes of the endpoints.
  kit.dataSource('temperature-source', { port: kit.z.int().optional() }, ({ port }) => ({
    path: '/temperature',
    ...(port === undefined ? {} : { port }),
    attributes: ['temperature'],
    extract: page => ({ temperature: (JSON.parse(page) as { celsius: number }).celsius }),
  })),

  // Request hook: told of the pick before the request is sent, of response headers, and of the end.
  kit.requestHook('open-requests-hook', {}, () => ({
    picked(request) {
      open.set(request.endpoint, (open.get(request.endpoint) ?? 0) + 1)
      request.setHeader('x-picked', request.endpoint)
    },
    responded: request => request.setHeader('x-served-tier', request.labels['tier'] ?? 'none'),
    ended: request => void open.set(request.endpoint, open.get(request.endpoint)! - 1),
  })),
]
