import type { PickRequest, PickResult, PickStatus } from '../../pick.ts'
import { NO_NEEDS, type ProfileHandler, type ProfileRunner } from '../profile-handler.ts'

/** Chooses among the ranks of data-parallel replicas; the request goes to the primary port of the chosen rank's replica (epp.md §3.14). */
export class DataParallelHandler implements ProfileHandler {
  readonly type = 'data-parallel-profile-handler'
  readonly needs = NO_NEEDS
  readonly primaryPort: number

  constructor(primaryPort: number) {
    this.primaryPort = primaryPort
  }

  pick(runner: ProfileRunner, _request: PickRequest, out: PickResult): PickStatus {
    return runner.run(0, -1, out)
  }
}
