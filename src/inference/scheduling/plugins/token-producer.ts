import { z } from 'zod'
import { object, positiveDuration } from '../../../config/kinds/common.ts'
import { mediaEstimate } from './media-estimate.ts'
import type { SettingType } from './plugin-type.ts'

const NOT_SUPPORTED = 'not supported'
const NO_SOCKETS = 'the sockets of the old tokenizer are not supported; say vllm'

const vllm = object(
  {
    url: z
      .url({ protocol: /^https?$/, error: 'must be a http or https URL' })
      .transform(url => url.replace(/\/+$/, ''))
      .default('http://localhost:8000'),
    timeout: z.union([positiveDuration, z.number()]).optional(),
    mmTimeout: z.union([positiveDuration, z.number()]).optional(),
  },
  {
    http: 'say url',
    messagesRenderMode: NOT_SUPPORTED,
    endpointDiscovery: NOT_SUPPORTED,
    prefillOnly: NOT_SUPPORTED,
    caCertPath: `${NOT_SUPPORTED}: the authorities of NODE_EXTRA_CA_CERTS are trusted`,
    clientCertPath: NOT_SUPPORTED,
    clientKeyPath: NOT_SUPPORTED,
    insecureSkipVerify: NOT_SUPPORTED,
  },
)

export const tokenProducerParameters = object(
  {
    backend: z.enum(['estimate', 'vllm'], 'must be estimate or vllm').optional(),
    modelName: z.string().min(1).optional(),
    vllm: vllm.optional(),
    estimate: mediaEstimate.optional(),
  },
  { uds: NO_SOCKETS, udsTokenizerConfig: NO_SOCKETS },
)
  .refine(({ estimate, vllm, backend }) => estimate === undefined || (vllm === undefined && backend !== 'vllm'), {
    path: ['estimate'],
    error: 'must not stand beside vllm',
  })
  .refine(({ vllm, modelName, backend }) => backend !== 'estimate' || (vllm === undefined && modelName === undefined), {
    path: ['backend'],
    error: 'estimate needs no model: it must not stand beside vllm or modelName',
  })

/** How images and videos are estimated; undefined: nobody asked for it. */
export function estimateOf({ backend, estimate }: z.output<typeof tokenProducerParameters>) {
  return estimate ?? (backend === 'estimate' ? mediaEstimate.parse({}) : undefined)
}

/**
 * Where prompts become tokens. The estimate is four bytes a token, made where it is needed, and where `estimate` is said (or `backend: estimate`) images and videos
 * count by their size (../../media-folder.ts); tokens as the engine has them come from a vLLM that renders requests, and only a precise
 * prefix cache asks for them.
 */
export const tokenProducer: SettingType = {
  type: 'token-producer',
  role: 'producer',
  parameters: tokenProducerParameters,
}
