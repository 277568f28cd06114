import type { AnyJson } from '@bufbuild/protobuf/wkt'
import type { SignalboxParametersSpec } from '../../config/kinds/signalbox-parameters.ts'
import {
  ExternalProcessorSchema,
  ExtProcPerRouteSchema,
} from '../../gen/envoy/extensions/filters/http/ext_proc/v3/ext_proc_pb.ts'
import type { ProcessingModeJson } from '../../gen/envoy/extensions/filters/http/ext_proc/v3/processing_mode_pb.ts'
import type { HttpFilterJson } from '../../gen/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts'
import { type BodyNeed, ENTRY_METADATA } from '../../pipeline/plan.ts'
import { MAX_MESSAGE_TIMEOUT_MS } from '../queue-waits.ts'
import { EXT_PROC_CLUSTER, EXT_PROC_FILTER, METADATA_NAMESPACE } from '../names.ts'
import { pack, seconds } from './json.ts'

const CLOSED: ProcessingModeJson = {
  requestHeaderMode: 'SKIP',
  responseHeaderMode: 'SKIP',
  requestBodyMode: 'NONE',
  responseBodyMode: 'NONE',
  requestTrailerMode: 'SKIP',
  responseTrailerMode: 'SKIP',
}

/**
 * The one filter of all routes. It asks nothing by itself; a route's `perRouteJson` opens it. What only the filter can say (not a
 * route) is the same for all: bodies come while the header answer is held, a kept content-length, timeouts, mutation rules.
 *
 * A dead service is a 503 (Envoy's default is 500): the request wasn't looked at and may be sent again. Timeouts stay 504.
 */
export function extProcFilterJson(parameters: SignalboxParametersSpec): HttpFilterJson {
  return {
    name: EXT_PROC_FILTER,
    typedConfig: pack(ExternalProcessorSchema, {
      grpcService: { envoyGrpc: { clusterName: EXT_PROC_CLUSTER } },
      statPrefix: 'signalbox',
      processingMode: CLOSED,
      sendBodyWithoutWaitingForHeaderResponse: true,
      allowContentLengthHeader: true,
      failureModeAllow: parameters.failureMode === 'FailOpen',
      statusOnError: { code: 'ServiceUnavailable' },
      messageTimeout: seconds(parameters.timeouts.message),
      // What a request needs we ask for: the time of its upload, and that which it waits in a pool's queue.
      maxMessageTimeout: seconds(Math.max(parameters.timeouts.upload, MAX_MESSAGE_TIMEOUT_MS)),
      // No pseudo-header, no host, nothing of Envoy's own.
      mutationRules: { allowAllRouting: false, allowEnvoy: false, disallowSystem: true },
      metadataOptions: {
        forwardingNamespaces: { untyped: ['envoy.lb', 'envoy.lb.subset_hint'] },
        receivingNamespaces: { untyped: ['envoy.lb', METADATA_NAMESPACE] },
      },
    }),
  }
}

const BODY_MODES = { none: 'NONE', look: 'STREAMED', 'full-duplex': 'FULL_DUPLEX_STREAMED' } as const

/** What an entry's routes (entry and targets alike) override of the filter. Nothing reads responses yet. */
export function perRouteJson(entryId: string, body: BodyNeed, failOpen: boolean): Record<string, AnyJson> {
  return {
    [EXT_PROC_FILTER]: pack(ExtProcPerRouteSchema, {
      overrides: {
        processingMode: {
          ...CLOSED,
          requestHeaderMode: 'SEND',
          requestBodyMode: BODY_MODES[body],
          // Envoy refuses full duplex without its trailers.
          requestTrailerMode: body === 'full-duplex' ? 'SEND' : 'SKIP',
        },
        grpcInitialMetadata: [{ key: ENTRY_METADATA, value: entryId }],
        failureModeAllow: failOpen,
      },
    }),
  }
}
