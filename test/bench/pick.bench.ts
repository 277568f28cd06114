/**
 * Cost of a pick as a ratio to a random pick (the endpoints' array and a random number), and of its parts: hashing the prompt and
 * matching it against the prefix index. Endpoints' metrics move all the time; prompts share their first half.
 *
 *     node test/bench/pick.bench.ts [--decisions]     only the whole decisions, as JSON in the last line
 */
import { PickResult } from '../../src/inference/pool.ts'
import { PrefixHasher } from '../../src/inference/prefix-hasher.ts'
import { PrefixIndex, prefixSeed } from '../../src/inference/prefix-index.ts'
import { DEFAULT_SCORERS } from '../../src/inference/scheduling/scorers/registry.ts'
import { addresses, hasherOf, LocalPool, poolPlan, request, scrape } from '../../src/inference/testing.ts'
import { LLM_D_DEFAULT } from './bench-plan.ts'
import type { DecisionCost } from './report.ts'

const PROMPTS = 256
const PROMPT_BYTES = 16 * 1024
const SMALL_PROMPT = 4096
const ROUNDS = 5
const REPEATS = 20_000

/** Best of some rounds, in µs of CPU a call: the noise of a shared machine only ever adds. */
function measure(run: (i: number) => void, repeats = REPEATS): number {
  for (let i = 0; i < repeats; i++) run(i)
  let best = Number.POSITIVE_INFINITY
  for (let round = 0; round < ROUNDS; round++) {
    const start = process.cpuUsage()
    for (let i = 0; i < repeats; i++) run(i)
    const { user, system } = process.cpuUsage(start)
    best = Math.min(best, (user + system) / repeats)
  }
  return best
}

const shared = 'You are a careful assistant. '.repeat(400).slice(0, PROMPT_BYTES / 2)
const texts = Array.from(
  { length: PROMPTS },
  (_, i) => shared + `${i} and then `.repeat(PROMPT_BYTES).slice(0, PROMPT_BYTES / 2),
)
const hashers = texts.map(text => hasherOf(text))
const bytes = texts.map(text => Buffer.from(text))

let sink = 0
const list = addresses(100)
const random = measure(() => {
  sink += list[(Math.random() * list.length) | 0]!.length
})
const lines: [string, number][] = [['random pick', random]]
const decisions: DecisionCost[] = []

/** Prompts of 4 KB whose first half is shared, under both defaults: hashed, matched, ranked and recorded. */
for (const [title, scorers] of [
  ["llm-d's default", LLM_D_DEFAULT],
  ['our default', DEFAULT_SCORERS],
] as const) {
  for (const count of [10, 100, 1000]) {
    const pool = new LocalPool(poolPlan(addresses(count), { scheduling: { scorers } }), { releaseBy: 'response' })
    const result = new PickResult()
    const prefix = new PrefixHasher()
    const wish = request({ prefix, promptBytes: SMALL_PROMPT })
    const micros = measure(
      i => {
        if (i % 8 === 0) scrapeFast(pool, (i >> 3) % count, i)
        const prompt = bytes[(i * 31) % PROMPTS]!
        prefix.reset(256, SMALL_PROMPT)
        prefix.update(prompt, (PROMPT_BYTES - SMALL_PROMPT) >> 1, (PROMPT_BYTES + SMALL_PROMPT) >> 1)
        wish.nowMs = 1000 + (i >> 3)
        pool.pick(wish, result)
        sink += pool.addresses(result).length
        pool.inFlight.release(result.slots[0]!, result.generations[0]!)
      },
      count === 1000 ? REPEATS / 10 : REPEATS,
    )
    lines.push([`decision, 4 KB, ${count} endpoints, ${title}`, micros])
    decisions.push({ profile: title, endpoints: count, micros })
  }
}

if (process.argv.includes('--decisions')) {
  console.log(JSON.stringify(decisions))
  process.exit(sink > 0 ? 0 : 1)
}

for (const count of [8, 100]) {
  for (const withPrefix of [false, true]) {
    const pool = new LocalPool(poolPlan(addresses(count)), { releaseBy: 'response' })
    const result = new PickResult()
    const wish = request({ promptBytes: PROMPT_BYTES })
    lines.push([
      `pick, ${count} endpoints, ${withPrefix ? '64 prefix blocks' : 'no prefix'}`,
      measure(i => {
        if (i % 8 === 0) {
          const slot = (i >> 3) % count
          scrapeFast(pool, slot, i)
        }
        wish.prefix = withPrefix ? hashers[(i * 31) % PROMPTS] : undefined
        pool.pick(wish, result)
        sink += pool.addresses(result).length
        pool.inFlight.release(result.slots[0]!, result.generations[0]!)
      }),
    ])
  }
}

function scrapeFast(pool: LocalPool, slot: number, i: number): void {
  scrape(pool, slot, { waiting: i % 3, running: i % 17, kvUsage: (i % 10) / 10 }, 1000)
}

const hasher = new PrefixHasher()
lines.push([
  'hash 16 KB in 256-byte blocks',
  measure(i => {
    hasher.reset(256, PROMPT_BYTES)
    const prompt = bytes[i % PROMPTS]!
    hasher.update(prompt, 0, prompt.length)
    sink += hasher.count
  }, 5000),
])

const index = new PrefixIndex({ slots: 100, endpoints: 100, blocksPerEndpoint: 8192 })
const seed = prefixSeed('m')
for (let i = 0; i < PROMPTS; i++)
  for (let slot = 0; slot < 100; slot += 3) index.record(hashers[i]!, seed, (slot + i) % 100)
const matched = new Int32Array(128)
lines.push([
  'match 64 blocks, 100 endpoints',
  measure(i => (sink += index.match(hashers[(i * 31) % PROMPTS]!, seed, matched))),
])
lines.push(['record 64 known blocks', measure(i => index.record(hashers[(i * 31) % PROMPTS]!, seed, i % 100))])
const fresh = hasherOf('')
lines.push([
  'record 64 new blocks',
  measure(i => {
    fresh.count = 64
    for (let block = 0; block < 64; block++) fresh.low[block] = Math.imul(i * 64 + block, 0x9e3779b1)
    index.record(fresh, seed, i % 100)
  }),
])

for (const [name, us] of lines) {
  console.log(`${name.padEnd(44)} ${us.toFixed(3).padStart(8)} µs ${(us / random).toFixed(1).padStart(8)} × random`)
}
if (sink === 0) throw new Error('nothing was done')
