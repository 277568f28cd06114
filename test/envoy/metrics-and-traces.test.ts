import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { JsonObject } from '@bufbuild/protobuf'
import { afterAll, beforeAll, beforeEach, expect, it } from '@jest/globals'
import { type EnvoyProcess, startEnvoy } from '../../src/cli/envoy/envoy-process.ts'
import { parseServeOptions } from '../../src/cli/serve/options.ts'
import { Signalbox } from '../../src/cli/serve/signalbox.ts'
import { createLog } from '../../src/telemetry/log.ts'
import { describeOnEnvoy } from '../support/envoy-suite.ts'
import { sendHttp1 } from '../support/http-client.ts'
import { gatewayBootstrap, type GatewayListener } from '../support/gateway-bootstrap.ts'
import { OtlpReceiver, type ReceivedSpan } from '../support/otlp-receiver.ts'
import { documents, poolYaml } from '../support/pool-config.ts'
import { readMetrics } from '../support/read-metrics.ts'
import { type RecordingBackend, startRecordingBackend } from '../support/recording-backend.ts'
import { jsonReply, sseReply } from '../support/reply.ts'
import { makeTempFolder, type TempFolder } from '../support/temp-folder.ts'
import { waitFor } from '../support/wait-for.ts'

const DUPLEX: JsonObject = {
  processingMode: {
    requestHeaderMode: 'SEND',
    responseHeaderMode: 'SEND',
    requestBodyMode: 'FULL_DUPLEX_STREAMED',
    responseBodyMode: 'FULL_DUPLEX_STREAMED',
    requestTrailerMode: 'SEND',
    responseTrailerMode: 'SEND',
  },
}
const USAGE = { prompt_tokens: 100, completion_tokens: 5, prompt_tokens_details: { cached_tokens: 60 } }
const PARENT = '00f067aa0ba902b7'
let traces = 0
const newTrace = () => (0xabc000 + ++traces).toString(16).padStart(32, '4')

describeOnEnvoy('metrics and traces of requests through somebody else’s gateway', binary => {
  let folder: TempFolder
  let backend: RecordingBackend
  let collector: OtlpReceiver
  let signalbox: Signalbox
  let overHttp: Signalbox
  let envoy: EnvoyProcess
  const ports = new Map<string, number>()

  const post = (listener: string, body: object, headers: Readonly<Record<string, string>> = {}) =>
    sendHttp1({
      port: ports.get(listener)!,
      path: '/v1/chat/completions',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify({ messages: [{ role: 'user', content: 'words' }], ...body }),
    })
  const page = async () => (await fetch(`http://${signalbox.adminAddress}/metrics`)).text()
  const metrics = async () => readMetrics(await page())
  const received = () => backend.requests.findLast(({ path }) => path === '/v1/chat/completions')!
  const arrived = (trace: string, name = 'gateway.request') =>
    waitFor(`spans of ${trace}`, () => {
      const spans = collector.trace(trace)
      return spans.some(span => span.name === name) && spans
    })
  const one = (spans: readonly ReceivedSpan[], name: string) => {
    const found = spans.filter(span => span.name === name)
    expect(found).toHaveLength(1)
    return found[0]!
  }

  beforeAll(async () => {
    folder = await makeTempFolder()
    collector = await OtlpReceiver.start()
    backend = await startRecordingBackend({
      script: ({ path, headers }) => {
        if (path === '/metrics' || path === '/v1/models') return { status: 404 }
        if (headers['x-answer'] === 'fail') return jsonReply({ error: 'out of order' }, 500)
        if (headers['x-answer'] !== 'stream') return jsonReply({ model: 'm', choices: [], usage: USAGE })
        const chunk = JSON.stringify({ choices: [{ delta: { content: 'word' } }] })
        return sseReply([chunk, chunk, chunk, JSON.stringify({ choices: [], usage: USAGE }), '[DONE]'], 5)
      },
    })
    await writeFile(
      join(folder.path, 'config.yaml'),
      documents(
        poolYaml({ addresses: [backend.address], annotations: { 'signalbox.dev/unknown-models': 'Forward' } }),
        `apiVersion: llm-d.ai/v1alpha2
kind: InferenceModelRewrite
metadata: { name: renames }
spec:
  poolRef: { name: pool }
  rules:
    - matches: [{ model: { value: alias } }]
      targets: [{ modelRewrite: real }]
---
apiVersion: llm-d.ai/v1alpha2
kind: InferenceObjective
metadata: { name: urgent }
spec: { priority: 7, poolRef: { name: pool } }`,
      ),
    )
    const serve = async (...args: readonly string[]): Promise<Signalbox> => {
      const always = ['--pool=default/pool', '--xds=off', '--ext-proc=127.0.0.1:0', '--admin=127.0.0.1:0', '--drain=1']
      const options = parseServeOptions(
        [`--config=${join(folder.path, 'config.yaml')}`, ...always, '--threads=1', '--log-level=silent', ...args],
        undefined,
        { OTEL_SERVICE_NAME: 'picker', OTEL_BSP_SCHEDULE_DELAY: '50' },
      )
      const started = new Signalbox(options, createLog('silent'))
      await started.start()
      return started
    }
    signalbox = await serve(
      '--compat-metrics',
      '--request-metrics=tokens',
      '--plugin-metrics=1',
      '--stream-metrics',
      `--otlp-endpoint=${collector.grpcUrl}`,
      '--span-share=0',
    )
    overHttp = await serve(`--otlp-endpoint=${collector.httpUrl}`, '--otlp-protocol=http/protobuf', '--span-share=1')
    const tracing: JsonObject = {
      provider: {
        name: 'envoy.tracers.opentelemetry',
        typedConfig: {
          '@type': 'type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig',
          grpcService: { envoyGrpc: { clusterName: 'collector' } },
          serviceName: 'envoy',
        },
      },
    }
    const listeners: GatewayListener[] = [
      { name: 'plain', peer: 'picker', filter: DUPLEX },
      { name: 'over http', peer: 'over-http', filter: DUPLEX },
      { name: 'traced', peer: 'picker', filter: DUPLEX, tracing },
    ]
    envoy = await startEnvoy({
      binary: binary.path,
      bootstrap: gatewayBootstrap({
        peers: { picker: { address: signalbox.extProcAddress }, 'over-http': { address: overHttp.extProcAddress } },
        listeners,
        pool: [backend.address],
        special: backend.address,
        accessLog: join(folder.path, 'access.log'),
        http2Clusters: { collector: `127.0.0.1:${collector.grpcPort}` },
      }),
      concurrency: 1,
      logPath: join(folder.path, 'envoy.log'),
    })
    await envoy.ready()
    for (const { name } of listeners) ports.set(name, await envoy.admin.listenerPort(name))
  })

  afterAll(async () => {
    await envoy?.stop()
    await signalbox?.stop()
    await overHttp?.stop()
    await backend?.close()
    await collector?.close()
    await folder?.remove()
  })

  beforeEach(() => backend.forget())

  it('counts requests by model, tenant and priority, under llm-d’s names', async () => {
    const tenant = { 'x-llm-d-inference-fairness-id': 'acme', 'x-llm-d-inference-objective': 'urgent' }
    expect((await post('plain', { model: 'alias' }, tenant)).status).toBe(200)
    expect((await post('plain', { model: 'alias' }, { ...tenant, 'x-answer': 'stream' })).status).toBe(200)
    expect((await post('plain', { model: 'fail' }, { ...tenant, 'x-answer': 'fail' })).status).toBe(500)
    expect((await post('plain', {}, tenant)).status).toBe(400)
    const labels = (model: string, target: string) =>
      `model_name="${model}",target_model_name="${target}",fairness_id="acme",priority="7"`
    const real = labels('alias', 'real')
    const all = await waitFor('two ends', async () => {
      const read = await metrics()
      return read.get(`llm_d_epp_request_duration_seconds_count{${real}}`) === 2 && read
    })
    for (const [name, value] of [
      ['request_total', 2],
      ['request_running', 0],
      ['request_duration_seconds_count', 2],
      ['request_size_bytes_count', 2],
      ['response_size_bytes_count', 2],
      ['request_input_tokens_sum', 200],
      ['request_cached_tokens_sum', 120],
      ['request_output_tokens_sum', 10],
      ['request_ntpot_seconds_count', 2],
      ['request_streaming_tpot_seconds_count', 1],
    ] as const) {
      expect([name, all.get(`llm_d_epp_${name}{${real}}`)]).toEqual([name, value])
      expect([name, all.get(`signalbox_${name}{${real}}`)]).toEqual([name, value])
    }
    expect(all.get(`llm_d_epp_request_ttft_seconds_count{${real},streaming="true"}`)).toBe(1)
    expect(all.get(`llm_d_epp_request_ttft_seconds_count{${real},streaming="false"}`)).toBe(1)
    expect(all.get(`llm_d_epp_request_streaming_itl_seconds_count{${real}}`)).toBeGreaterThan(0)
    const failed = `${labels('fail', 'fail')},error_code=`
    expect(all.get(`llm_d_epp_request_error_total{${failed}"ModelServerError"}`)).toBe(1)
    expect(all.get(`signalbox_request_error_total{${failed}"model_server_error"}`)).toBe(1)
    const [, port] = backend.address.split(':')
    const endpoint = `target_model_name="real",endpoint_name="127.0.0.1",namespace="default",port="${port}"`
    expect(all.get(`llm_d_epp_scheduler_attempts_total{status="success",${endpoint}}`)).toBe(2)
    const rewrite = 'model_rewrite_name="renames",model_name="alias",target_model="real"'
    expect(all.get(`llm_d_epp_model_rewrite_decisions_total{${rewrite}}`)).toBe(2)
    expect(all.get('llm_d_epp_scheduler_e2e_duration_seconds_count')).toBe(3)
    const scorer = 'extension_point="Scorer",plugin_type="expected-ttft-scorer",plugin_name="expected-ttft-scorer"'
    expect(all.get(`llm_d_epp_plugin_duration_seconds_count{${scorer}}`)).toBe(3)
    expect(all.get('llm_d_epp_request_processing_duration_seconds_count')).toBe(4)
    expect(all.get('llm_d_epp_ready_endpoints{name="pool"}')).toBe(1)
    expect(all.get('bbr_success_total')).toBe(3)
    expect(all.get('bbr_body_field_not_found_total{field="model"}')).toBe(1)
    await waitFor('streams that are over', async () => {
      const read = await metrics()
      return read.get('llm_d_epp_extproc_stream_duration_seconds_count') === 4
    })
  })

  it('carries a client’s trace to the engine, with a span for each step', async () => {
    const trace = newTrace()
    const headers = { traceparent: `00-${trace}-${PARENT}-01`, 'x-request-id': 'an-id' }
    expect((await post('plain', { model: 'alias' }, headers)).status).toBe(200)
    const spans = await arrived(trace)
    const request = one(spans, 'gateway.request')
    expect(request).toMatchObject({ parentSpanId: PARENT, kind: 2, status: 0, over: 'grpc' })
    expect(request.resource).toMatchObject({ 'service.name': 'picker' })
    expect(request.attributes).toMatchObject({
      'gen_ai.request.model': 'alias',
      'gen_ai.request.id': 'an-id',
      'http.response.status_code': 200,
      'url.path': '/v1/chat/completions',
    })
    expect(received().headers['traceparent']).toEqual(`00-${trace}-${request.spanId}-01`)
    const orchestration = one(spans, 'gateway.request_orchestration')
    expect(orchestration.parentSpanId).toBe(request.spanId)
    expect(orchestration.attributes).toMatchObject({ target_model: 'real', request_prio: 0 })
    const profile = one(spans, 'run_scheduler_profile')
    expect(profile.parentSpanId).toBe(orchestration.spanId)
    expect(profile.attributes).toMatchObject({ 'llm_d.epp.scheduling.profile.name': 'default' })
    expect(one(spans, 'filter_endpoints').attributes).toMatchObject({
      'llm_d.epp.filter.candidate_endpoints': 1,
      'llm_d.epp.filter.filtered_endpoints': 1,
    })
    const scoring = one(spans, 'llm_d.epp.scoring')
    expect(one(spans, 'llm_d.epp.scorer.expected-ttft-scorer')).toMatchObject({
      parentSpanId: scoring.spanId,
      attributes: { 'llm_d.epp.scorer.type': 'expected-ttft-scorer', 'llm_d.epp.scorer.endpoints_scored': 1 },
    })
    expect(one(spans, 'pick_endpoints').attributes).toMatchObject({
      'llm_d.epp.picker.top_endpoints': [backend.address],
      'signalbox.picked_endpoints': [backend.address],
    })
    for (const span of spans) {
      expect(span.startedAt).toBeGreaterThanOrEqual(request.startedAt)
      expect(span.endedAt).toBeLessThanOrEqual(request.endedAt)
      expect(span.endedAt).toBeGreaterThanOrEqual(span.startedAt)
    }
  })

  it('leaves a trace alone that nobody samples, and begins none of its own at a share of 0', async () => {
    const trace = newTrace()
    const header = `00-${trace}-${PARENT}-00`
    await post('plain', { model: 'm' }, { traceparent: header })
    expect(received().headers['traceparent']).toBe(header)
    await post('plain', { model: 'm' })
    expect(received().headers['traceparent']).toBeUndefined()
    const next = newTrace()
    await post('plain', { model: 'm' }, { traceparent: `00-${next}-${PARENT}-01` })
    await arrived(next)
    expect(collector.trace(trace)).toEqual([])
  })

  it('marks what was refused, and what the engine failed', async () => {
    const [refused, failed] = [newTrace(), newTrace()]
    expect((await post('plain', {}, { traceparent: `00-${refused}-${PARENT}-01` })).status).toBe(400)
    const traced = { traceparent: `00-${failed}-${PARENT}-01`, 'x-answer': 'fail' }
    expect((await post('plain', { model: 'fail' }, traced)).status).toBe(500)
    for (const [trace, status] of [
      [refused, 400],
      [failed, 500],
    ] as const) {
      const request = one(await arrived(trace), 'gateway.request')
      expect(request).toMatchObject({ status: 2, attributes: { 'http.response.status_code': status } })
    }
  })

  it('begins traces of its own, and sends them over HTTP', async () => {
    await post('over http', { model: 'm' })
    const [, trace, parent] = /^00-(\w{32})-(\w{16})-01$/.exec(received().headers['traceparent'] ?? '')!
    const request = one(await arrived(trace!), 'gateway.request')
    expect(request).toMatchObject({ spanId: parent, parentSpanId: '', over: 'http' })
  })

  it('is part of the trace of an Envoy that traces, from the client to the engine', async () => {
    const trace = newTrace()
    await post('traced', { model: 'm' }, { traceparent: `00-${trace}-${PARENT}-01` })
    const spans = await waitFor('Envoy’s spans and ours', () => {
      const found = collector.trace(trace)
      const services = new Set(found.map(({ resource }) => resource['service.name']))
      return services.has('envoy') && found.some(({ name }) => name === 'gateway.request') && found
    })
    const own = new Set(spans.map(({ spanId }) => spanId))
    const request = one(spans, 'gateway.request')
    expect(own.has(request.parentSpanId) || request.parentSpanId === PARENT).toBe(true)
    expect(received().headers['traceparent']).toMatch(new RegExp(`^00-${trace}-\\w{16}-01$`))
  })
})
