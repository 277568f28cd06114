import { describe, expect, it } from '@jest/globals'
import { parseMeasuring } from './measuring-options.ts'
import { parseTracing } from './tracing-options.ts'

const OTLP = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4317' }

describe('tracing', () => {
  it('is off until it is known where to', () => {
    expect(parseTracing({}, {})).toBeUndefined()
    expect(parseTracing({}, { OTEL_TRACES_SAMPLER: 'always_on' })).toBeUndefined()
    expect(parseTracing({ tracing: 'off' }, OTLP)).toBeUndefined()
    expect(parseTracing({}, { ...OTLP, OTEL_SDK_DISABLED: 'true' })).toBeUndefined()
    expect(parseTracing({}, { ...OTLP, OTEL_TRACES_EXPORTER: 'none' })).toBeUndefined()
  })

  it('goes by the environment, as llm-d’s: gRPC, parent-based, 10 %', () => {
    expect(parseTracing({}, OTLP)).toEqual({
      sampler: { parentBased: true, share: 0.1 },
      exporter: 'grpc',
      endpoint: undefined,
      serviceName: 'signalbox',
      batches: {},
    })
    expect(parseTracing({}, { OTEL_TRACES_EXPORTER: 'console' })).toMatchObject({ exporter: 'console' })
    expect(parseTracing({}, { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'collector:4317' })).toMatchObject({
      endpoint: 'http://collector:4317',
    })
    const http = { ...OTLP, OTEL_EXPORTER_OTLP_PROTOCOL: 'http/protobuf', OTEL_SERVICE_NAME: 'mine' }
    expect(parseTracing({}, http)).toMatchObject({ exporter: 'http/protobuf', serviceName: 'mine' })
    const batches = { OTEL_BSP_SCHEDULE_DELAY: '100', OTEL_BSP_MAX_QUEUE_SIZE: '5000' }
    expect(parseTracing({}, { ...OTLP, ...batches })?.batches).toEqual({
      scheduledDelayMillis: 100,
      maxQueueSize: 5000,
    })
  })

  it.each([
    ['always_on', undefined, false, 1],
    ['always_off', undefined, false, 0],
    ['traceidratio', '0.5', false, 0.5],
    ['parentbased_always_on', undefined, true, 1],
    ['parentbased_always_off', undefined, true, 0],
    ['parentbased_traceidratio', '1', true, 1],
  ])('samples by %s %s', (name, arg, parentBased, share) => {
    const env = { ...OTLP, OTEL_TRACES_SAMPLER: name, OTEL_TRACES_SAMPLER_ARG: arg }
    expect(parseTracing({}, env)?.sampler).toEqual({ parentBased, share })
  })

  it('puts options before the environment', () => {
    const options = { 'otlp-endpoint': 'http://here:4318', 'otlp-protocol': 'http/protobuf', 'span-share': '0.25' }
    expect(parseTracing(options, { ...OTLP, OTEL_TRACES_EXPORTER: 'none', OTEL_TRACES_SAMPLER: 'always_on' })).toEqual({
      sampler: { parentBased: true, share: 0.25 },
      exporter: 'http/protobuf',
      endpoint: 'http://here:4318',
      serviceName: 'signalbox',
      batches: {},
    })
  })

  it.each([
    [{ tracing: 'maybe' }, {}, '--tracing'],
    [{ tracing: 'on' }, {}, 'no --otlp-endpoint'],
    [{ tracing: 'off', 'span-share': '1' }, {}, '--span-share has no effect'],
    [{ 'span-share': '1' }, {}, '--span-share needs --otlp-endpoint'],
    [{ 'otlp-endpoint': 'nowhere' }, {}, '--otlp-endpoint'],
    [{ 'otlp-endpoint': 'http://a', 'otlp-protocol': 'http/json' }, {}, '--otlp-protocol'],
    [{ 'otlp-endpoint': 'http://a', 'span-share': '2' }, {}, '--span-share'],
    [{}, { ...OTLP, OTEL_TRACES_EXPORTER: 'zipkin' }, 'OTEL_TRACES_EXPORTER'],
    [{}, { ...OTLP, OTEL_TRACES_SAMPLER: 'jaeger_remote' }, 'OTEL_TRACES_SAMPLER'],
    [{}, { ...OTLP, OTEL_TRACES_SAMPLER_ARG: 'x' }, 'OTEL_TRACES_SAMPLER_ARG'],
    [{}, { ...OTLP, OTEL_BSP_SCHEDULE_DELAY: '0' }, 'OTEL_BSP_SCHEDULE_DELAY'],
    [{}, { OTEL_EXPORTER_OTLP_ENDPOINT: 'ftp://x' }, 'OTEL_EXPORTER_OTLP_ENDPOINT'],
  ])('%j with %j is refused', (values, env, message) => {
    expect(() => parseTracing(values, env)).toThrow(message)
  })
})

describe('what is measured', () => {
  const parse = (values: object) =>
    parseMeasuring({ 'compat-metrics': false, 'stream-metrics': false, ...values }, {}).threads

  it('is nothing by default, and what was asked for', () => {
    expect(parse({})).toEqual({})
    expect(parse({ 'request-metrics': 'tokens' })).toEqual({ requests: { tokens: true, pluginShare: 0 } })
    expect(parse({ 'compat-metrics': true })).toEqual({ requests: { tokens: false, pluginShare: 0.01 } })
    expect(parse({ 'compat-metrics': true, 'request-metrics': 'off', 'stream-metrics': true })).toEqual({
      streams: true,
    })
    expect(() => parse({ 'request-metrics': 'all' })).toThrow('--request-metrics')
    expect(() => parse({ 'plugin-metrics': '0.1' })).toThrow('--plugin-metrics needs --request-metrics')
    expect(() => parse({ 'request-metrics': 'on', 'plugin-metrics': '2' })).toThrow('--plugin-metrics')
  })
})
