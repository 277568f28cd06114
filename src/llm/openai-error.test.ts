import { describe, expect, it } from '@jest/globals'
import { modelNotFound, openAiErrorBody, saturated } from './openai-error.ts'

describe('OpenAI errors', () => {
  it('has the shape that clients parse', () => {
    expect(JSON.parse(openAiErrorBody(modelNotFound('gpt-9')).toString())).toEqual({
      error: {
        message: 'The model `gpt-9` does not exist or you do not have access to it.',
        type: 'invalid_request_error',
        param: 'model',
        code: 'model_not_found',
      },
    })
  })

  it('writes null for an absent param', () => {
    expect(JSON.parse(openAiErrorBody(saturated()).toString()).error.param).toBeNull()
  })

  it('cuts what a client made long, and quotes it safely', () => {
    const body = JSON.parse(openAiErrorBody(modelNotFound(`"\n${'x'.repeat(10_000)}`)).toString())
    expect(body.error.message.length).toBeLessThan(300)
  })
})
