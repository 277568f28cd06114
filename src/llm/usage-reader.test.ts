import { describe, expect, it } from '@jest/globals'
import { UsageReader } from './usage-reader.ts'

function read(text: string, streams: boolean, chunk: number) {
  const reader = new UsageReader()
  reader.begin(streams)
  const bytes = Buffer.from(text)
  for (let at = 0; at < bytes.length; at += chunk) reader.feed(bytes, at, Math.min(bytes.length, at + chunk))
  reader.end()
  const { input, output, cached, total, known } = reader.usage
  return known ? { input, output, total, cached } : undefined
}

const none = { cached: -1 }
const CASES: readonly (readonly [name: string, streams: boolean, text: string, expected: unknown])[] = [
  [
    'OpenAI names',
    false,
    '{"usage":{"prompt_tokens":10,"completion_tokens":20,"total_tokens":30}}',
    { input: 10, output: 20, total: 30, ...none },
  ],
  [
    'names of the Responses API',
    false,
    '{"usage":{"input_tokens":10,"output_tokens":20}}',
    { input: 10, output: 20, total: 30, ...none },
  ],
  [
    'mixed names',
    false,
    '{"usage":{"input_tokens":10,"completion_tokens":20,"total_tokens":30}}',
    { input: 10, output: 20, total: 30, ...none },
  ],
  [
    'cached tokens',
    false,
    '{"usage":{"prompt_tokens":64,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":40}}}',
    { input: 64, output: 1, total: 65, cached: 40 },
  ],
  [
    'cached tokens of inputs',
    false,
    '{"usage":{"input_tokens":64,"output_tokens":1,"input_tokens_details":{"cached_tokens":40}}}',
    { input: 64, output: 1, total: 65, cached: 40 },
  ],
  ['no usage', false, '{"choices":[{"usage":{"prompt_tokens":1}}],"text":"\\"usage\\""}', undefined],
  [
    'more tokens than there can be',
    false,
    '{"usage":{"prompt_tokens":9e15,"completion_tokens":9007199254740991,"total_tokens":16777217}}',
    { input: 16_777_216, output: 16_777_216, total: 16_777_216, ...none },
  ],
  ['null', false, '{"usage":null}', undefined],
  ['what is no number', false, '{"usage":{"prompt_tokens":"7","completion_tokens":-1,"total_tokens":1.5}}', undefined],
  ['what is no JSON', false, '{malformed', undefined],
  ['a body that was cut', false, '{"usage":{"prompt_tokens":10,', undefined],
  [
    'a stream that ends with one line break',
    true,
    'data: {"usage":{"prompt_tokens":7,"completion_tokens":10,"total_tokens":17}}\n',
    { input: 7, output: 10, total: 17, cached: -1 },
  ],
  [
    '[DONE]',
    true,
    'data: {"usage":{"prompt_tokens":7,"completion_tokens":10,"total_tokens":17}}\n\ndata: [DONE]\n\n',
    { input: 7, output: 10, total: 17, cached: -1 },
  ],
  [
    'CRLF',
    true,
    'data: {"choices":[]}\r\n\r\ndata: {"usage":{"prompt_tokens":7,"completion_tokens":10}}\r\n\r\ndata: [DONE]\r\n\r\n',
    { input: 7, output: 10, total: 17, cached: -1 },
  ],
  [
    'CR, no space, comments',
    true,
    ': ping\rdata:{"usage":{"prompt_tokens":7,"completion_tokens":10}}\r\rdata:[DONE]\r\r',
    { input: 7, output: 10, total: 17, cached: -1 },
  ],
  [
    'data of several lines',
    true,
    'data: {"usage":{"prompt_tokens":7,\ndata: "completion_tokens":10}}\n\n',
    { input: 7, output: 10, total: 17, cached: -1 },
  ],
  [
    'the Responses API',
    true,
    [
      'event: response.in_progress\ndata: {"type":"response.in_progress","response":{"usage":{"input_tokens":1,"output_tokens":1}}}\n\n',
      'data: {"type":"response.completed","response":{"usage":{"input_tokens":31,"output_tokens":3,"total_tokens":34,"input_tokens_details":{"cached_tokens":16}}}}\n\n',
    ].join(''),
    { input: 31, output: 3, total: 34, cached: 16 },
  ],
  [
    'Anthropic',
    true,
    [
      'event: message_start\ndata: {"type":"message_start","message":{"usage":{"input_tokens":25,"cache_read_input_tokens":8,"output_tokens":1}}}\n\n',
      'event: ping\ndata: {"type":"ping"}\n\n',
      'event: message_delta\ndata: {"type":"message_delta","usage":{"output_tokens":15}}\n\n',
    ].join(''),
    { input: 25, output: 15, total: 40, cached: 8 },
  ],
]

describe.each([1, 2, 3, 7, 4096])('usage of responses in chunks of %i bytes (epp.md §8.4)', chunk => {
  it.each(CASES)('%s', (_name, streams, text, expected) => {
    expect(read(text, streams, chunk)).toEqual(expected)
  })
})

it('reads usage in an event that is too long to be held, and gives back what it held', () => {
  const reader = new UsageReader()
  const text = (output: number) =>
    Buffer.from(
      `data: {"type":"response.completed","response":{"output":"${'x'.repeat(1_000_000)}","usage":{"input_tokens":1,"output_tokens":${output}}}}\n`,
    )
  for (const size of [1000, 100_000]) {
    reader.begin(true)
    const bytes = Buffer.concat([text(1), Buffer.from('\n'), text(2)])
    for (let at = 0; at < bytes.length; at += size) reader.feed(bytes, at, Math.min(bytes.length, at + size))
    expect(reader.heldBytes).toBeLessThanOrEqual(64 * 1024)
    reader.end()
    expect(reader.usage).toMatchObject({ input: 1, output: 2 })
    expect(reader.heldBytes).toBeLessThanOrEqual(8192)
  }
})

it('gives back what it held of a response that was broken off', () => {
  const reader = new UsageReader()
  reader.begin(true)
  const bytes = Buffer.from(`data: ${'x'.repeat(10_000)}`)
  reader.feed(bytes, 0, bytes.length)
  expect(reader.heldBytes).toBeGreaterThan(8192)
  reader.release()
  expect(reader.heldBytes).toBeLessThanOrEqual(8192)
})

describe('events that come a chunk each', () => {
  const USAGE = '{"usage":{"prompt_tokens":7,"completion_tokens":10}}'
  const delta = 'data: {"choices":[{"delta":{"content":"usage \\"usage"}}]}\n\n'
  const readChunks = (...chunks: string[]) => {
    const reader = new UsageReader()
    reader.begin(true)
    for (const chunk of chunks) {
      // Somewhere in the buffer of a read, which ends elsewhere and holds the word too.
      const bytes = Buffer.from(`"usage"${chunk}"usage"`)
      reader.feed(bytes, 7, bytes.length - 7)
    }
    reader.end()
    return reader.usage.known ? reader.usage.output : undefined
  }
  it.each([
    ['the last has it', [delta, delta, `data: ${USAGE}\n\n`, 'data: [DONE]\n\n'], 10],
    ['none has it', [delta, delta, 'data: [DONE]\n\n'], undefined],
    ['it stands in the middle of a chunk', [`${delta}data: ${USAGE}\n\n${delta}`, delta], 10],
    ['the key is cut', [delta, 'data: {"us', 'age":{"completion_tokens":10}}\n\n', delta], 10],
    [
      'the event is cut before an empty line of its JSON',
      ['data: {"a":1,\n', 'data: "usage":{"completion_tokens":10}\ndata: }\n\n'],
      10,
    ],
    ['what looks like an event is the rest of a line', ['data: {"a":"', '\ndata: b\n\n', `data: ${USAGE}\n\n`], 10],
    ['a name of an event stands alone', ['event: a\n\n', `data: ${USAGE}\n\n`], 10],
    ['the line break of CRLF comes late', [`data: x\r\n\r`, `\n\n`, `data: ${USAGE}\n\n`], 10],
    [
      'the key stands in its own word',
      ['data: {""usage":1}\n\n', 'data: {"a":,"usage":{"completion_tokens":10}}\n\n'],
      undefined,
    ],
    [
      'of two the first counts',
      ['data: {"x":"u","usage":{"completion_tokens":4},"usage":{"completion_tokens":10}}\n\n'],
      4,
    ],
  ])('%s', (_name, chunks, output) => {
    expect(readChunks(...chunks)).toBe(output)
  })
})
