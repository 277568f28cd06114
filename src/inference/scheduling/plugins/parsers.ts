import { object } from '../../../config/kinds/common.ts'
import type { ParserType } from './plugin-type.ts'

/** Types of `requestHandler.parsers`; what they read is told by src/llm/request-apis.ts. */
export const PARSERS: readonly ParserType[] = [
  'openai-parser',
  'anthropic-parser',
  'vllmhttp-parser',
  'sglanghttp-parser',
  'vllmgrpc-parser',
  'vertexai-parser',
  'passthrough-parser',
].map(type => ({ type, role: 'parser', parameters: object({}) }))
