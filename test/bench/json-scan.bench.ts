/**
 * Cost of the JSON scanner as a ratio to `JSON.parse(body.toString())` and to a bare memchr over the same bytes, in one run.
 * Bodies are chat requests; each is fed in 16 KB chunks by a reused scanner that extracts `model`. `check`: what it costs besides to check
 * the types of their fields, as is done for gateways.
 *
 *     node test/bench/json-scan.bench.ts
 */
import { compileScan } from '../../src/body/json-program.ts'
import { JsonScanner, ScanState } from '../../src/body/json-scan.ts'
import { ShapeChecker } from '../../src/body/shape-checker.ts'
import { REQUEST_SHAPES, shapeOf } from '../../src/llm/request-shapes.ts'

const CHUNK = 16 * 1024
const ROUNDS = 5
/** Bytes to go through in one round of one measurement, so that small bodies are repeated more often. */
const ROUND_BYTES = 8_000_000

const SIZES = [300, 16_000, 220_000, 1_000_000, 10_000_000]
const MODEL = '"model":"meta-llama/Llama-3.1-8B-Instruct"'

interface Text {
  /** What the content of the messages is made of. */
  readonly unit: string
  /** Content of one message: a long chat has many messages, an image is one. */
  readonly messageBytes: number
}

const TEXTS: Readonly<Record<string, Text>> = {
  plain: {
    unit: 'The quick brown fox jumps over the lazy dog and goes on to the next field. ',
    messageBytes: 4096,
  },
  escapes: {
    unit: 'He said: \\"no\\".\\n\\n| a | b |\\n\\t{\\"key\\": 1}\\u00e9 und so weiter, ',
    messageBytes: 4096,
  },
  CJK: { unit: '中文字符测试日本語テキスト。', messageBytes: 4096 },
  image: { unit: 'iVBORw0KGgoAAAANSUhEUgAAAAUA', messageBytes: Number.POSITIVE_INFINITY },
}

function body(size: number, { unit, messageBytes }: Text, modelFirst: boolean): Buffer {
  const rest = '"stream":true,"temperature":0.7,"max_tokens":256'
  const frame = (messages: string) =>
    Buffer.from(modelFirst ? `{${MODEL},${messages},${rest}}` : `{${messages},${rest},${MODEL}}`)
  const messages = (contents: readonly string[]) =>
    `"messages":[${contents.map(content => `{"role":"user","content":"${content}"}`).join(',')}]`
  const unitBytes = Buffer.byteLength(unit)
  const units = Math.max(1, Math.round((size - frame(messages([''])).length) / unitBytes))
  const perMessage = Math.min(units, Math.ceil(messageBytes / unitBytes))
  const contents: string[] = []
  for (let left = units; left > 0; left -= perMessage) contents.push(unit.repeat(Math.min(left, perMessage)))
  return frame(messages(contents))
}

/** Best of some rounds, in µs a call: the noise of a shared machine only ever adds. */
function measure(bytes: number, run: () => void): number {
  const repeats = Math.max(1, Math.min(20_000, Math.round(ROUND_BYTES / bytes)))
  for (let i = 0; i < Math.min(repeats, 2000); i++) run()
  let best = Number.POSITIVE_INFINITY
  for (let round = 0; round < ROUNDS; round++) {
    const start = process.hrtime.bigint()
    for (let i = 0; i < repeats; i++) run()
    best = Math.min(best, Number(process.hrtime.bigint() - start) / 1000 / repeats)
  }
  return best
}

const scanner = new JsonScanner(compileScan([{ path: ['model'], kind: 'text' }]))

function scan(chunks: readonly Buffer[]): void {
  scanner.reset()
  for (const chunk of chunks) scanner.feed(chunk)
  if (scanner.finish() !== ScanState.DONE || scanner.text(0) === '') throw new Error('the scan failed')
}

function scanUntilModel(chunks: readonly Buffer[]): void {
  scanner.reset()
  for (const chunk of chunks) {
    scanner.feed(chunk)
    if (scanner.complete(0)) break
  }
  if (scanner.text(0) === '') throw new Error('the scan failed')
}

const checker = new ShapeChecker(REQUEST_SHAPES)
const CHAT = shapeOf('chat')

function check(chunks: readonly Buffer[]): void {
  checker.begin(CHAT)
  for (const chunk of chunks)
    if (checker.feed(chunk, 0, chunk.length) !== undefined) throw new Error('the check failed')
}

console.log(
  'text     bytes      model  scan µs  parse µs  scan/parse  scan/memchr  until model/parse  check µs  check/parse',
)
for (const [name, text] of Object.entries(TEXTS))
  for (const size of SIZES)
    for (const modelFirst of [true, false]) {
      const whole = body(size, text, modelFirst)
      const chunks: Buffer[] = []
      for (let at = 0; at < whole.length; at += CHUNK) chunks.push(whole.subarray(at, at + CHUNK))
      const parse = measure(whole.length, () => {
        if ((JSON.parse(whole.toString()) as { model: string }).model === '') throw new Error('the parse failed')
      })
      const all = measure(whole.length, () => scan(chunks))
      const first = measure(whole.length, () => scanUntilModel(chunks))
      const checked = measure(whole.length, () => check(chunks))
      const memchr = measure(whole.length, () => {
        for (const chunk of chunks) if (chunk.indexOf(0) !== -1) throw new Error('a NUL in the body')
      })
      console.log(
        [
          name.padEnd(8),
          String(whole.length).padEnd(10),
          (modelFirst ? 'first' : 'last').padEnd(6),
          all.toFixed(2).padStart(7),
          parse.toFixed(2).padStart(9),
          (all / parse).toFixed(3).padStart(11),
          (all / memchr).toFixed(2).padStart(12),
          (first / parse).toFixed(4).padStart(18),
          checked.toFixed(2).padStart(9),
          (checked / parse).toFixed(3).padStart(12),
        ].join(' '),
      )
    }
