/** The metrics that threads count by themselves: names without a prefix, labels and buckets of epp.md §5.1, to the letter. */
import type { SeriesFamily } from '../telemetry/series-family.ts'

const REQUEST = ['model_name', 'target_model_name', 'fairness_id', 'priority'] as const
const PLUGIN = ['plugin_name', 'plugin_type'] as const
const DURATION = [
  0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60, 120, 180, 240,
  300, 360, 480, 600, 900, 1200, 1800, 2700, 3600,
]
/** 32778 is no slip of ours: dashboards have it. */
const BYTES_ANSWERED = [1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32778, 65536]
const TOKENS_READ = [...BYTES_ANSWERED, 131072, 262144, 524288, 1048576]
const SHORT = [0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1]

function doubling(first: number, last: number): number[] {
  const ends = []
  for (let end = first; end <= last; end *= 2) ends.push(end)
  return ends
}

/** Index in `REQUEST_FAMILIES`. */
export const Family = {
  REQUESTS: 0,
  ERRORS: 1,
  DURATION: 2,
  REQUEST_BYTES: 3,
  RESPONSE_BYTES: 4,
  INPUT_TOKENS: 5,
  CACHED_TOKENS: 6,
  OUTPUT_TOKENS: 7,
  RUNNING: 8,
  NTPOT: 9,
  TTFT: 10,
  TPOT: 11,
  ITL: 12,
  SCHEDULER: 13,
  ATTEMPTS: 14,
  PLUGIN: 15,
  PROCESSING: 16,
  RESPONSE_PROCESSING: 17,
  REWRITES: 18,
  HIT_RATIO: 19,
  HIT_BYTES: 20,
  DISAGGREGATION: 21,
  QUEUE_WAIT: 22,
  ENQUEUE: 23,
  QUEUED: 24,
  QUEUED_BYTES: 25,
  IN_FLIGHT: 26,
  IN_FLIGHT_TOKENS: 27,
  STREAMS: 28,
  STREAM_DURATION: 29,
  MODELS_READ: 30,
  MODELS_MISSING: 31,
  MODELS_EMPTY: 32,
} as const
export type Family = (typeof Family)[keyof typeof Family]

const counter = (name: string, help: string, labels: readonly string[]): SeriesFamily => ({
  name,
  type: 'counter',
  help,
  labels,
})
const gauge = (name: string, help: string, labels: readonly string[]): SeriesFamily => ({
  name,
  type: 'gauge',
  help,
  labels,
})
const histogram = (
  name: string,
  help: string,
  labels: readonly string[],
  buckets: readonly number[],
): SeriesFamily => ({ name, type: 'histogram', help, labels, buckets })

/** Labels whose values clients choose. */
export const MODEL_LABELS: ReadonlySet<string> = new Set(['model_name', 'target_model_name', 'target_model'])
export const FAIRNESS_LABELS: ReadonlySet<string> = new Set(['fairness_id'])

export const REQUEST_FAMILIES: readonly SeriesFamily[] = [
  counter('request_total', 'Requests, however they were answered', REQUEST),
  counter('request_error_total', 'Requests that were answered with an error, ours or the engine’s', [
    ...REQUEST,
    'error_code',
  ]),
  histogram('request_duration_seconds', 'From the request’s headers to the end of the response', REQUEST, DURATION),
  histogram('request_size_bytes', 'Bytes of requests’ bodies', REQUEST, doubling(64, 1024 ** 3)),
  histogram('response_size_bytes', 'Bytes of responses’ bodies', REQUEST, BYTES_ANSWERED),
  histogram('request_input_tokens', 'Tokens of prompts, as the engine counts', REQUEST, TOKENS_READ),
  histogram('request_cached_tokens', 'Tokens of prompts that the engine had in its cache', REQUEST, TOKENS_READ),
  histogram('request_output_tokens', 'Tokens of answers, as the engine counts', REQUEST, [1, ...doubling(8, 8192)]),
  gauge('request_running', 'Requests that were sent on and whose responses are under way', REQUEST),
  histogram(
    'request_ntpot_seconds',
    'Duration of requests over the tokens of their answers',
    REQUEST,
    [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10],
  ),
  histogram(
    'request_ttft_seconds',
    'From the request’s headers to the first of the response’s body',
    [...REQUEST, 'streaming'],
    DURATION.slice(0, 24),
  ),
  histogram(
    'request_streaming_tpot_seconds',
    'Time per token of streams, after the first one',
    REQUEST,
    [0.0005, 0.00205, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.125, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1, 2],
  ),
  histogram(
    'request_streaming_itl_seconds',
    'Time between two chunks of a stream',
    REQUEST,
    [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1, 2],
  ),
  histogram('scheduler_e2e_duration_seconds', 'How long picks took', [], SHORT),
  counter('scheduler_attempts_total', 'Picks, by what became of them', [
    'status',
    'target_model_name',
    'endpoint_name',
    'namespace',
    'port',
  ]),
  histogram(
    'plugin_duration_seconds',
    'How long plug-ins took in a sample of the picks',
    ['extension_point', 'plugin_type', 'plugin_name'],
    SHORT,
  ),
  histogram(
    'request_processing_duration_seconds',
    'From a request’s headers to its decision, waiting in queues included',
    [],
    [0.0005, 0.001, 0.002, 0.005, 0.01, 0.015, 0.025, 0.04, 0.06, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
  ),
  histogram(
    'response_processing_duration_seconds',
    'Of a stream how long we worked on its chunks; of other responses from headers to end',
    [],
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
  ),
  counter('model_rewrite_decisions_total', 'Models put in the place of those that were asked for', [
    'model_rewrite_name',
    'model_name',
    'target_model',
  ]),
  histogram(
    'prefix_indexer_hit_ratio',
    'Share of the prompt that the chosen endpoint presumably has in its cache',
    PLUGIN,
    [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1],
  ),
  histogram('prefix_indexer_hit_bytes', 'The same in bytes', PLUGIN, [0, ...doubling(16, 65536)]),
  counter('disagg_decision_total', 'Requests by the replicas that take part', [
    ...PLUGIN,
    'model_name',
    'decision_type',
  ]),
  histogram(
    'flow_control_request_queue_duration_seconds',
    'How long requests stood in a queue',
    ['fairness_id', 'priority', 'outcome', 'inference_pool', 'model_name', 'target_model_name'],
    [0.0001, 0.0005, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60],
  ),
  histogram(
    'flow_control_request_enqueue_duration_seconds',
    'How long it took to put a request into a queue',
    ['fairness_id', 'priority', 'outcome'],
    SHORT,
  ),
  gauge('flow_control_queue_size', 'Requests that wait', [
    'fairness_id',
    'priority',
    'inference_pool',
    'model_name',
    'target_model_name',
  ]),
  gauge('flow_control_queue_bytes', 'Bytes of the bodies of requests that wait', [
    'fairness_id',
    'priority',
    'inference_pool',
    'model_name',
    'target_model_name',
  ]),
  gauge('inflight_requests', 'Requests sent to the endpoint and not known to be over', [
    'endpoint_name',
    'namespace',
    'producer_name',
    'fairness_id',
    'priority',
  ]),
  gauge('inflight_tokens', 'Tokens of those requests', [
    'endpoint_name',
    'namespace',
    'producer_name',
    'fairness_id',
    'priority',
  ]),
  counter('extproc_streams_total', 'ext_proc streams that are over, by gRPC status', ['code']),
  histogram(
    'extproc_stream_duration_seconds',
    'How long ext_proc streams were open',
    [],
    [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 120, 300, 600],
  ),
  counter('body_models_read_total', 'Requests whose body names a model', []),
  counter('body_models_missing_total', 'Requests whose body lacks a field that routes ask for', ['field']),
  counter('body_models_empty_total', 'Requests whose body has an empty field that routes ask for', ['field']),
]
