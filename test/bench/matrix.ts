/** The exchanges that are measured, and what each has to cost. */
import type { ContenderName } from './contenders.ts'

export interface Goal {
  /** Row and contender that `ours` is compared with. */
  readonly row: string
  readonly contender: ContenderName
  /** Largest ratio of CPU per exchange. */
  readonly ratio: number
}

export interface Row {
  readonly id: string
  readonly title: string
  /** When our plan's model fact is final in this row (design.md, "When is a fact final?"). */
  readonly facts: string
  /** The first one is ours. */
  readonly contenders: readonly ContenderName[]
  /** Options of extprocload and of our own generator. */
  readonly load: readonly string[]
  /** Exchanges that warm up the compilers. A busy machine takes long for them, so a time would not do. */
  readonly warmUp: number
  /** Per what the CPU is told. */
  readonly unit: 'exchange' | 'chunk'
  readonly goal?: Goal
}

const SMALL = ['-body', '300', '-c', '32']
const LARGE = ['-body', '220000', '-c', '16']
const FACTS = 'model first, prefix bounded(32 KiB)'

export const ROWS: readonly Row[] = [
  {
    id: 'fds-300',
    title: '300 B, full duplex both ways',
    facts: FACTS,
    contenders: ['ours', 'refserver', 'grpc-js'],
    load: SMALL,
    warmUp: 30_000,
    unit: 'exchange',
    goal: { row: 'fds-300', contender: 'refserver', ratio: 1 },
  },
  {
    id: 'request-300',
    title: '300 B, full duplex, request only',
    facts: FACTS,
    contenders: ['ours-request-only', 'refserver', 'grpc-js'],
    load: [...SMALL, '-resp', 'none'],
    warmUp: 30_000,
    unit: 'exchange',
  },
  {
    id: 'fds-220k',
    title: '220 KB, full duplex both ways',
    facts: FACTS,
    contenders: ['ours', 'refserver-parse', 'grpc-js'],
    load: LARGE,
    warmUp: 3000,
    unit: 'exchange',
    goal: { row: 'fds-220k', contender: 'refserver-parse', ratio: 0.8 },
  },
  {
    id: 'look-220k-first',
    title: '220 KB, look, model first',
    facts: FACTS,
    contenders: ['ours-look'],
    load: [...LARGE, '-req', 'look', '-resp', 'none'],
    warmUp: 3000,
    unit: 'exchange',
    goal: { row: 'fds-220k', contender: 'ours', ratio: 0.2 },
  },
  {
    id: 'look-220k-last',
    title: '220 KB, look, model last',
    facts: FACTS,
    contenders: ['ours-look'],
    load: [...LARGE, '-req', 'look', '-resp', 'none', '-model-last'],
    warmUp: 3000,
    unit: 'exchange',
    goal: { row: 'fds-220k', contender: 'ours', ratio: 0.5 },
  },
  {
    id: 'look-300',
    title: '300 B, look',
    facts: FACTS,
    contenders: ['ours-look'],
    load: [...SMALL, '-req', 'look', '-resp', 'none'],
    warmUp: 30_000,
    unit: 'exchange',
  },
  {
    id: 'sse',
    title: 'SSE chunk, full duplex, lockstep',
    facts: 'none read',
    contenders: ['ours', 'refserver', 'grpc-js'],
    load: ['-body', '300', '-c', '16', '-stream', '-resp-chunks', '200'],
    warmUp: 100,
    unit: 'chunk',
  },
]

/** What ours must answer besides: the picked endpoint in both carriers, the model as a header, the body byte for byte. */
export const OUR_CHECKS = ['-expect-pick', '-expect-header', 'x-gateway-model-name=m', '-verify-body']
export const OTHERS_CHECKS = ['-expect-pick', '-verify-body']
