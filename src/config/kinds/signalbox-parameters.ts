import { z } from 'zod'
import type { KindObject } from '../object.ts'
import { duration, headerName, kindSchema, object, positiveDuration } from './common.ts'

const lowerHeader = headerName
  // Envoy bounds the size of an expression, which the name becomes (`eitherDash`).
  .refine(name => name.length <= 64, 'at most 64 characters')
  .transform(name => name.toLowerCase())
  .refine(name => !name.startsWith('x-envoy-') && name !== 'host', 'this header belongs to Envoy')

const MIB = 1024 * 1024

/** Endpoints in the list that Envoys of our own fleet get: the picked one, and those that retries go to. */
export const FLEET_ENDPOINTS = 3

/** SignalboxParameters (signalbox.dev/v1alpha1): settings of the whole fleet. One object at most; every field has a default. */
export const signalboxParametersSchema = kindSchema({
  spec: object({
    routing: object({
      modelHeader: lowerHeader.default('x-gateway-model-name'),
      baseModelHeader: lowerHeader.default('x-gateway-base-model-name'),
    })
      .refine(value => value.modelHeader !== value.baseModelHeader, 'the two headers must differ')
      .prefault({}),
    limits: object({
      /** Beyond it 413. */
      maxRequestBodyBytes: z
        .int()
        .min(1024)
        .max(256 * MIB)
        .default(32 * MIB),
      /** Bytes of the prompt that the prefix scorer looks at. */
      prefixBytes: z
        .int()
        .min(0)
        .max(4 * MIB)
        .default(32 * 1024),
    }).prefault({}),
    timeouts: object({
      /** Longest time to a decision once the facts are there (ext_proc message_timeout). */
      message: positiveDuration.prefault('10s'),
      /** Longest time for the part of a body that a decision needs (ext_proc max_message_timeout). */
      upload: positiveDuration.prefault('5m'),
      /** Longest pause of a body that a decision still needs. */
      uploadIdle: positiveDuration.prefault('30s'),
      /** Whole request, response included; 0s = no limit. */
      request: duration.prefault('0s'),
      /** Stream without a byte in either direction; 0s = no limit. */
      idle: duration.prefault('10m'),
    })
      .refine(value => value.upload >= value.message, 'upload must be at least as long as message')
      .prefault({}),
    scheduling: object({
      scorers: z
        .array(object({ type: z.string().min(1), weight: z.number().positive().max(1000).default(1) }))
        .refine(list => new Set(list.map(item => item.type)).size === list.length, 'each scorer at most once')
        .optional(),
      /** Length of the picked list; default: 1 for gateways that we don't configure, else `FLEET_ENDPOINTS`. */
      maxEndpoints: z.int().min(1).max(8).optional(),
      maxQueue: z.int().min(0).max(1_000_000).default(0),
      prefixBlockBytes: z.int().min(16).max(65_536).default(512),
      prefixBlocksPerEndpoint: z.int().min(16).max(16_777_216).default(32_768),
    }).prefault({}),
    scrape: object({
      path: z.string().regex(/^\//, 'must start with "/"').default('/metrics'),
      interval: positiveDuration.prefault('50ms'),
      /** Replicas without load are asked this seldom, once nothing is sent to them; never more often than `interval`. */
      idleInterval: positiveDuration.prefault('1s'),
      timeout: positiveDuration.prefault('1s'),
      stale: positiveDuration.prefault('2s'),
      modelsInterval: positiveDuration.prefault('10s'),
    }).prefault({}),
    /** What Envoy does when Signalbox doesn't answer; an InferencePool's own failureMode goes first. */
    failureMode: z.enum(['FailClose', 'FailOpen']).default('FailClose'),
    accessLog: z
      .discriminatedUnion('type', [
        object({ type: z.literal('stdout') }),
        object({ type: z.literal('file'), path: z.string().min(1) }),
        object({ type: z.literal('off') }),
      ])
      .prefault({ type: 'stdout' }),
    retries: object({
      /** Further attempts after the first; default: as many as there are endpoints in the picked list. */
      attempts: z.int().min(0).max(16).optional(),
      /** Envoy's `retry_on` conditions; default: those after which a pool's other replicas may answer. */
      on: z
        .array(
          z.enum([
            'connect-failure',
            'refused-stream',
            'reset-before-request',
            'reset',
            'retriable-status-codes',
            'gateway-error',
            '5xx',
          ]),
        )
        .min(1)
        .optional(),
      /**
       * Bodies up to this size are kept by Envoy for retries. Longer ones pass without being read to their end, and are not
       * retried. 0: no retries.
       */
      maxBodyBytes: z
        .int()
        .min(0)
        .max(64 * 1024 * 1024)
        .default(64 * 1024),
    }).prefault({}),
  }),
})

export type SignalboxParametersSpec = z.output<typeof signalboxParametersSchema>['spec']
export type SignalboxParameters = KindObject<'SignalboxParameters', { readonly spec: SignalboxParametersSpec }>

/** The settings of a configuration without a SignalboxParameters object. */
export function defaultParameters(): SignalboxParametersSpec {
  const metadata = { name: 'default' }
  return signalboxParametersSchema.parse({ apiVersion: '', kind: '', metadata, spec: {} }).spec
}
