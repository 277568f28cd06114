/** How requests that come together are kept together (llm-d's `burst-prefix-cache-producer`). Plain data, part of the plan of a pool. */
export interface BurstPlan {
  /** By which plug-ins name what it says. */
  readonly producer: string
  /** So long after the first request of a burst the places of all are found. */
  readonly windowMs: number
  /** Requests with the same prompt that go to one replica; 0 = any number. */
  readonly maxPerReplica: number
  /** Blocks of the pool's prompt hashes that make one of these. */
  readonly stride: number
  /** Blocks that are looked at: prompts that are alike so far are the same. */
  readonly maxBlocks: number
  /** Prompts that are alike so far, in blocks, are related; 0 = only the same prompts are. */
  readonly minColocateBlocks: number
  /** Requests of one window on a thread; others do not wait. */
  readonly maxHeld: number
  /** What replicas are to have alike of a burst. */
  readonly balanceBy: 'requests' | 'tokens'
  /** Number of the profile among whose candidates the places are found. */
  readonly profile: number
}
