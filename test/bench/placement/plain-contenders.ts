/** Balancers that know nothing of inference. */
import { Random } from '../../../src/sim/random.ts'
import type { Contender, ContenderKind } from './contender.ts'

export const RANDOM: ContenderKind = {
  name: 'random',
  title: 'random',
  create(replicas, seed) {
    const live = all(replicas)
    const random = new Random(seed)
    return plain(live, () => live[random.between(0, live.length - 1)]!)
  },
}

export const ROUND_ROBIN: ContenderKind = {
  name: 'round-robin',
  title: 'round robin',
  create(replicas) {
    const live = all(replicas)
    let next = 0
    return plain(live, () => live[next++ % live.length]!)
  },
}

/** The fewest requests in flight of all replicas, and sees them at once. Envoy compares two random ones, which is a little worse. */
export const LEAST_REQUEST: ContenderKind = {
  name: 'least-request',
  title: 'least request',
  create(replicas, seed) {
    const live = all(replicas)
    const random = new Random(seed)
    const inFlight = live.map(() => 0)
    const pick = () => {
      const fewest = Math.min(...live.map(replica => inFlight[replica]!))
      const ties = live.filter(replica => inFlight[replica] === fewest)
      const replica = ties[random.between(0, ties.length - 1)]!
      inFlight[replica]! += 1
      return replica
    }
    return { ...plain(live, pick), over: replica => (inFlight[replica]! -= 1) }
  },
}

function all(replicas: number): number[] {
  return Array.from({ length: replicas }, (_, replica) => replica)
}

function plain(live: number[], pick: () => number): Contender {
  return {
    pick,
    over: () => {},
    scraped: () => {},
    removed(replica) {
      live.splice(live.indexOf(replica), 1)
    },
  }
}
