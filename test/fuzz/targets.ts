import { ExchangeTarget } from './exchange-target.ts'
import { ExtProcTarget } from './ext-proc-target.ts'
import { FramesTarget } from './frames-target.ts'
import { FramesNodeTarget } from './frames-node-target.ts'
import { HpackTarget } from './hpack-target.ts'
import type { FuzzTarget } from './target.ts'

/** By the names of the command line. */
export const FUZZ_TARGETS: Readonly<Record<string, () => FuzzTarget>> = {
  frames: () => new FramesTarget(),
  'frames-node': () => new FramesNodeTarget(),
  hpack: () => new HpackTarget(),
  'ext-proc': () => new ExtProcTarget(),
  exchange: () => new ExchangeTarget(),
}
