/**
 * llm-d's default profile, by the formulas of epp.md §3.3, §3.5 and §3.7: queue 2, KV usage 2, prefix 3; numbers as of the last scrape,
 * without its own decisions since; random among equals; approximate prefix cache in blocks of 64 tokens with an LRU per replica of as
 * many entries as the engine has blocks. A failed scrape leaves the last numbers in force.
 */
import { Random } from '../../../src/sim/random.ts'
import { TokenChain } from '../../../src/sim/token-chain.ts'
import type { ContenderKind } from './contender.ts'
import type { Arrival } from './workloads.ts'

const BLOCK_TOKENS = 64
const LRU_BEFORE_SCRAPE = 31_250

interface Pod {
  readonly replica: number
  waiting: number
  kvUsage: number
  capacity: number
  /** Hashes of blocks, the one used longest ago first. */
  readonly blocks: Set<number>
}

export const LLM_D_DEFAULT: ContenderKind = {
  name: 'llm-d',
  title: 'llm-d default',
  create(replicas, seed) {
    const random = new Random(seed)
    let pods: Pod[] = Array.from({ length: replicas }, (_, replica) => ({
      replica,
      waiting: 0,
      kvUsage: 0,
      capacity: LRU_BEFORE_SCRAPE,
      blocks: new Set(),
    }))
    return {
      pick(arrival) {
        const hashes = hashesOf(arrival)
        const scores = scoresOf(pods, hashes, Math.ceil(arrival.prompt.length / BLOCK_TOKENS))
        const best = Math.max(...scores)
        const ties = pods.filter((_, i) => scores[i] === best)
        const pod = ties[random.between(0, ties.length - 1)]!
        remember(pod, hashes)
        return pod.replica
      },
      over: () => {},
      scraped(replica, page) {
        const pod = pods.find(other => other.replica === replica)
        if (pod === undefined || page === undefined) return
        pod.waiting = page.waiting
        pod.kvUsage = page.kvUsage
        pod.capacity = page.blockCount
      },
      removed(replica) {
        pods = pods.filter(pod => pod.replica !== replica)
      },
    }
  },
}

/** The incomplete last block counts in the total and, being new nearly always, is never found; so it isn't kept. */
function hashesOf({ model, prompt }: Arrival): readonly number[] {
  const chain = new TokenChain(BLOCK_TOKENS, model)
  for (const token of prompt) chain.append(token)
  return chain.keys
}

function scoresOf(pods: readonly Pod[], hashes: readonly number[], total: number): number[] {
  const queues = pods.map(({ waiting }) => waiting)
  const [min, max] = [Math.min(...queues), Math.max(...queues)]
  const matched = pods.map(() => 0)
  for (const hash of hashes) {
    let held = false
    pods.forEach(({ blocks }, i) => {
      if (!blocks.has(hash)) return
      matched[i]! += 1
      held = true
    })
    if (!held) break
  }
  return pods.map((pod, i) => {
    const queue = max === min ? 1 : (max - pod.waiting) / (max - min)
    return 2 * queue + 2 * (1 - pod.kvUsage) + 3 * (matched[i]! / total)
  })
}

function remember({ blocks, capacity }: Pod, hashes: readonly number[]): void {
  for (const hash of hashes) {
    blocks.delete(hash)
    blocks.add(hash)
  }
  for (const oldest of blocks) {
    if (blocks.size <= capacity) break
    blocks.delete(oldest)
  }
}
