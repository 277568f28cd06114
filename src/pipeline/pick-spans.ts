/** The spans of a pick: profiles, filters, scorers, picker, with the attributes that llm-d gives them (epp.md §5.3). */
import type { CandidateRecord, PickRecord, ProfileRecord } from '../inference/pick-record.ts'
import { type PickTimes, type PluginTime, type ProfileTime, Step } from '../inference/pick-times.ts'
import type { FinishedSpan, SpanValue } from '../telemetry/span.ts'
import { newSpanId } from '../telemetry/trace-context.ts'

export interface PickSpanBase {
  readonly traceId: string
  readonly parentSpanId: string
  /** Unix ms at 0 of the clock of the times. */
  readonly origin: number
  /** Attributes of every span. */
  readonly common: Readonly<Record<string, SpanValue>>
}

/** Endpoints named in a span. */
const MOST_ENDPOINTS = 5

export function pickSpans(base: PickSpanBase, times: PickTimes, record: PickRecord): FinishedSpan[] {
  return times.profiles.flatMap((profile, i) => profileSpans(base, profile, record.profiles[i]))
}

function profileSpans(base: PickSpanBase, profile: ProfileTime, record: ProfileRecord | undefined): FinishedSpan[] {
  const { name, startedAt, endedAt, plugins, candidates, filtered } = profile
  const profileSpan = span(base, 'run_scheduler_profile', startedAt, endedAt, {
    'llm_d.epp.scheduling.profile.name': name,
  })
  const inProfile = { ...base, parentSpanId: profileSpan.spanId }
  const filters = plugins.filter(({ step }) => step === Step.FILTER)
  const scorers = plugins.filter(({ step }) => step === Step.SCORER)
  const spans = [
    profileSpan,
    span(inProfile, 'filter_endpoints', startedAt, filters.at(-1)?.endedAt ?? startedAt, {
      'llm_d.epp.filter.candidate_endpoints': candidates,
      'llm_d.epp.filter.filtered_endpoints': filtered,
    }),
  ]
  if (scorers.length > 0) {
    const scoring = span(inProfile, 'llm_d.epp.scoring', scorers[0]!.startedAt, scorers.at(-1)!.endedAt, {
      'llm_d.epp.scoring.candidate_endpoints': filtered,
      'llm_d.epp.scorer.count': scorers.length,
    })
    const inScoring = { ...base, parentSpanId: scoring.spanId }
    spans.push(scoring, ...scorers.map((scorer, i) => scorerSpan(inScoring, scorer, i, record)))
  }
  for (const { step, startedAt: began, endedAt: ended } of plugins)
    if (step === Step.PICKER)
      spans.push(span(inProfile, 'pick_endpoints', began, ended, pickAttributes(filtered, record)))
  return spans
}

function scorerSpan(
  base: PickSpanBase,
  { type, startedAt, endedAt }: PluginTime,
  index: number,
  record: ProfileRecord | undefined,
): FinishedSpan {
  const scores = (record?.candidates ?? []).flatMap(candidate => candidate.scores?.[index] ?? [])
  const sum = scores.reduce((all, score) => all + score, 0)
  const weight = record?.scorers[index]?.weight
  return span(base, `llm_d.epp.scorer.${type}`, startedAt, endedAt, {
    'llm_d.epp.scorer.type': type,
    'llm_d.epp.scorer.name': type,
    ...(weight === undefined ? {} : { 'llm_d.epp.scorer.weight': weight }),
    'llm_d.epp.scorer.endpoints_scored': scores.length,
    ...(scores.length === 0
      ? {}
      : { 'llm_d.epp.scorer.score.max': Math.max(...scores), 'llm_d.epp.scorer.score.avg': sum / scores.length }),
  })
}

function pickAttributes(candidates: number, record: ProfileRecord | undefined): Record<string, SpanValue> {
  const scored = (record?.candidates ?? []).filter(({ total }) => total !== undefined)
  const best = scored.toSorted((a, b) => totalOf(b) - totalOf(a)).slice(0, MOST_ENDPOINTS)
  return {
    'llm_d.epp.picker.candidate_endpoints': candidates,
    'llm_d.epp.picker.top_endpoints': best.map(({ address }) => address),
    'llm_d.epp.picker.top_scores': best.map(totalOf),
    'signalbox.picked_endpoints': record?.picked ?? [],
  }
}

function totalOf({ total = 0 }: CandidateRecord): number {
  return total
}

function span(
  { traceId, parentSpanId, origin, common }: PickSpanBase,
  name: string,
  startedAt: number,
  endedAt: number,
  attributes: Readonly<Record<string, SpanValue>>,
): FinishedSpan {
  return {
    traceId,
    spanId: newSpanId(),
    parentSpanId,
    name,
    kind: 'internal',
    startedAt: origin + startedAt,
    endedAt: origin + endedAt,
    attributes: { ...common, ...attributes },
  }
}
