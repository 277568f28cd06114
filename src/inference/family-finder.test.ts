/** Page after page through one parser, which looks for families where they were: each must be read as if it was the first. */
import { describe, expect, it } from '@jest/globals'
import * as fc from 'fast-check'
import { DEFAULT_ENGINES, engineOf } from './engines.ts'
import { EnginePage } from './engine-page.ts'
import { MetricsParser } from './metrics-parser.ts'
import type { ReplicaMetrics } from './replica-metrics.ts'

const vllm = new EnginePage(engineOf(DEFAULT_ENGINES, {}))
/** All but the old name of the cache usage, which is of no interest where the new one is there. */
const NAMES = vllm.families.map(({ name }) => name.toString()).filter(name => name !== 'vllm:gpu_cache_usage_perc')
const LABELS: Readonly<Record<string, string>> = {
  'vllm:cache_config_info': 'block_size="16",num_gpu_blocks="31250"',
  'vllm:lora_requests_info': 'max_lora="2",running_lora_adapters="a, b",waiting_lora_adapters="c"',
}

interface Block {
  readonly name: string
  /** Of its series, one for each rank; exact in a sum. */
  readonly values: readonly number[]
  readonly help: boolean
  /** Lines of other families behind it. */
  readonly filler: readonly string[]
}

const filler = fc.oneof(
  fc.integer({ min: 0, max: 1e9 }).map(count => `vllm:other_seconds_bucket{le="0.5"} ${count}.0`),
  fc.integer({ min: 0, max: 1e9 }).map(sum => `vllm:num_requests_running_total{engine="0"} ${sum}`),
  fc.constantFrom('', '# a comment', 'vllm:kv_cache_usage_perc', 'vllm:prompt_tokens_total{unended="'),
)
const value = fc.oneof(
  fc.integer({ min: 0, max: 5 }),
  fc.integer({ min: 0, max: 2 ** 40 }).map(n => n / 1024),
)
const page = fc
  .tuple(
    ...NAMES.map(name =>
      fc.record<Block>({
        name: fc.constant(name),
        values: fc.array(value, { minLength: 1, maxLength: 3 }),
        help: fc.boolean(),
        filler: fc.array(filler, { maxLength: 3 }),
      }),
    ),
  )
  .chain(blocks =>
    fc.oneof(
      { weight: 3, arbitrary: fc.constant(blocks) },
      { weight: 1, arbitrary: fc.shuffledSubarray(blocks, { minLength: blocks.length }) },
    ),
  )
  .map(blocks => blocks.map(textOf).join(''))

function textOf({ name, values, help, filler: others }: Block): string {
  const series = values.map((each, rank) => `${name}{engine="${rank}",${LABELS[name] ?? 'model_name="m"'}} ${each}`)
  const lines = [...(help ? [`# HELP ${name} It is.`, `# TYPE ${name} gauge`] : []), ...series, ...others]
  return `${lines.join('\n')}\n`
}

/** From a buffer that holds something else behind the bytes, as that of a socket does. */
function readPage(parser: MetricsParser, text: string, sizes: readonly number[]): ReplicaMetrics {
  parser.begin()
  const bytes = Buffer.from(text)
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const piece = bytes.subarray(at, at + sizes[i % sizes.length]!)
    const buffer = Buffer.concat([
      Buffer.from('vllm:num_'),
      piece,
      Buffer.from('requests_running 77\nvllm:prompt_tokens_total 5\n'),
    ])
    parser.take(buffer, 9, 9 + piece.length)
    at += piece.length
  }
  return structuredClone(parser.finish()!)
}

const WHOLE = [Number.MAX_SAFE_INTEGER]

describe('FamilyFinder', () => {
  it('reads every page as if it was the first, whatever has moved, in any pieces', () => {
    const sizes = fc.oneof(
      fc.constant(WHOLE),
      fc.array(fc.integer({ min: 1, max: 2000 }), { minLength: 1, maxLength: 5 }),
    )
    fc.assert(
      fc.property(fc.array(fc.tuple(page, sizes), { minLength: 2, maxLength: 5 }), pages => {
        const parser = new MetricsParser(vllm)
        for (const [text, pieces] of pages)
          expect(readPage(parser, text, pieces)).toEqual(readPage(new MetricsParser(vllm), text, WHOLE))
      }),
      { numRuns: 200 },
    )
  })

  it('sees a rank that comes, and one that goes, before the others', () => {
    const parser = new MetricsParser(vllm)
    const read = (...ranks: readonly number[]) =>
      readPage(
        parser,
        [
          '# HELP',
          ...ranks.map(rank => `vllm:num_requests_running{engine="${rank}"} ${10 ** rank}`),
          '# TYPE',
          '',
        ].join('\n'),
        WHOLE,
      ).running
    expect([read(1, 2), read(0, 1, 2), read(2), read(0, 2), read(0, 1)]).toEqual([110, 111, 100, 101, 11])
  })

  it('searches no page that is like the one before', () => {
    const parser = new MetricsParser(vllm)
    const padding = 'vllm:other_seconds_bucket{le="0.5"} 1.0\n'.repeat(50)
    const text = (running: number) =>
      NAMES.map(name => `${padding}# TYPE ${name} gauge\n${name}{${LABELS[name] ?? 'a="b"'}} ${running}\n`).join('')
    const bytes = Buffer.from(text(9))
    const next = Buffer.from(text(10))
    const read = (page: Buffer): void => {
      parser.begin()
      parser.take(page, 0, page.length)
      expect(parser.finish()).toBeDefined()
    }
    read(bytes)
    let searched = 0
    next.indexOf = () => {
      searched++
      return -1
    }
    next.subarray = () => {
      throw new Error('searched')
    }
    read(next)
    expect(searched).toBe(0)
    expect(parser.metrics.running).toBe(10)
  })
})
