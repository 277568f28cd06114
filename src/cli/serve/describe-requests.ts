import { Family, REQUEST_FAMILIES } from '../../pipeline/request-families.ts'
import type { RequestTotals } from '../../pipeline/request-totals.ts'
import type { Metrics } from '../../telemetry/metrics.ts'
import type { SeriesFamily } from '../../telemetry/series-family.ts'

/** Which families of threads are counted. */
export interface CountedKinds {
  readonly requests: boolean
  readonly streams: boolean
  /** Response bodies are read. */
  readonly tokens: boolean
}

const STREAMS: readonly Family[] = [Family.STREAMS, Family.STREAM_DURATION]
const TOKENS: readonly Family[] = [
  Family.INPUT_TOKENS,
  Family.CACHED_TOKENS,
  Family.OUTPUT_TOKENS,
  Family.NTPOT,
  Family.TTFT,
  Family.TPOT,
  Family.ITL,
]
/** Ours are by band, always there, and tell nothing of clients (./describe-flow.ts). */
const ONLY_COMPAT: readonly Family[] = [Family.QUEUE_WAIT, Family.QUEUED, Family.QUEUED_BYTES]
const OWN_NAMES = new Map<Family, string>([
  [Family.STREAMS, 'signalbox_ext_proc_streams_ended_total'],
  [Family.STREAM_DURATION, 'signalbox_ext_proc_stream_duration_seconds'],
])
const COMPAT_NAMES = new Map<Family, string>([
  [Family.MODELS_READ, 'bbr_success_total'],
  [Family.MODELS_MISSING, 'bbr_body_field_not_found_total'],
  [Family.MODELS_EMPTY, 'bbr_body_field_empty_total'],
])

/** Families that threads count by model, tenant and endpoint; with `compat`, what llm-d's pages show of a pool's name, under llm-d's names too. */
export function describeRequests(
  metrics: Metrics,
  totals: RequestTotals,
  kinds: CountedKinds,
  compat: ((label: string, value: string) => string) | undefined,
): void {
  for (const [index, family] of REQUEST_FAMILIES.entries()) {
    const kind = index as Family
    if (!isCounted(kind, kinds)) continue
    if (!ONLY_COMPAT.includes(kind))
      describe(metrics, totals, index, family, OWN_NAMES.get(kind) ?? `signalbox_${family.name}`)
    if (compat === undefined) continue
    const name = COMPAT_NAMES.get(kind) ?? `llm_d_epp_${family.name}`
    describe(metrics, totals, index, family, name, compat)
  }
}

function isCounted(family: Family, { requests, streams, tokens }: CountedKinds): boolean {
  if (STREAMS.includes(family)) return streams
  return requests && (tokens || !TOKENS.includes(family))
}

function describe(
  metrics: Metrics,
  totals: RequestTotals,
  index: number,
  { help, labels, type, buckets }: SeriesFamily,
  name: string,
  shown: (label: string, value: string) => string = (_, value) => value,
): void {
  const change = (given: readonly string[]) => given.map((value, i) => shown(labels[i]!, value))
  if (buckets !== undefined)
    metrics.histogram(name, help, labels, buckets, () => {
      totals.refresh()
      return totals.histograms(index).map(each => ({ ...each, labels: change(each.labels) }))
    })
  else {
    const read = () => {
      totals.refresh()
      return totals.samples(index).map(({ labels: given, value }) => ({ labels: change(given), value }))
    }
    if (type === 'counter') metrics.counter(name, help, labels, read)
    else metrics.gauge(name, help, labels, read)
  }
}
