/** What replicas of Signalbox tell each other, as `src/peers` does, on the simulation's clock instead of over connections. */
import { fromBinary } from '@bufbuild/protobuf'
import { ReportSchema } from '../../../src/gen/signalbox/peers/v1/peers_pb.ts'
import type { PoolKeeper } from '../../../src/inference/pool-keeper.ts'
import { Inbox } from '../../../src/peers/inbox.ts'
import { Outbox } from '../../../src/peers/outbox.ts'

/** As src/peers/peers.ts has it. */
const TELL_MS = 25
/** From one replica to another, and until its main thread has time for it. */
const DELAY_MS = 15

interface Message {
  readonly at: number
  readonly from: number
  readonly report: Uint8Array
}

export class PeerTalk {
  readonly #outboxes: readonly Outbox[]
  readonly #inboxes: readonly Inbox[]
  #underWay: Message[] = []
  #toldAt = 0
  #now = 0

  constructor(keepers: readonly PoolKeeper[]) {
    this.#outboxes = keepers.map(keeper => new Outbox(() => [keeper]))
    this.#inboxes = keepers.map(
      keeper =>
        new Inbox(
          () => new Map([[keeper.plan.name, keeper]]),
          () => this.#now,
        ),
    )
  }

  /** Everything that is told and heard up to `now`; call it before anything else happens at that time. */
  advance(now: number): void {
    for (; this.#toldAt <= now; this.#toldAt += TELL_MS) {
      this.#hear(this.#toldAt)
      this.#outboxes.forEach((outbox, from) => {
        const report = outbox.changes()
        if (report !== undefined) this.#underWay.push({ at: this.#toldAt + DELAY_MS, from, report })
      })
    }
    this.#hear(now)
  }

  #hear(now: number): void {
    const arrived = this.#underWay.filter(({ at }) => at <= now)
    if (arrived.length === 0) return
    this.#now = now
    this.#underWay = this.#underWay.filter(({ at }) => at > now)
    for (const { from, report } of arrived)
      this.#inboxes.forEach((inbox, to) => {
        if (to !== from) inbox.take(`replica-${from}`, fromBinary(ReportSchema, report))
      })
  }
}
