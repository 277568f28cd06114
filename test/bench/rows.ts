/** The exchanges that are measured, and by whom. */
import type { EntryName } from './bench-plan.ts'
import type { ContenderName } from './contenders.ts'

/** How much is measured: each selection holds the rows of those before it. */
export const SELECTIONS = ['quick', 'default', 'all'] as const
export type Selection = (typeof SELECTIONS)[number]

export interface Row {
  readonly id: string
  readonly title: string
  /** When our plan's facts are final in this row (design.md, "When is a fact final?"). */
  readonly facts: string
  /** What our servers run. */
  readonly entry: EntryName
  /** Full duplex: any ext_proc server can play it. Else only those that may close early. */
  readonly duplex: boolean
  /** Who plays it, from which selection on. */
  readonly contenders: Readonly<Partial<Record<Selection, readonly ContenderName[]>>>
  /** Options of extprocload and of our own generator. */
  readonly load: readonly string[]
  /** Exchanges that warm up the compilers. A busy machine takes long for them, so a time would not do. */
  readonly warmUp: number
  /** Per what the CPU is told. */
  readonly unit: 'exchange' | 'chunk'
  /** Row and contender whose cost is 1 in the table of ratios. */
  readonly base: { readonly row: string; readonly contender: ContenderName }
}

const EVERYBODY = ['own', 'node', 'refserver', 'refserver-parse', 'grpc-js', 'connect-node'] as const
const OURS = ['own', 'node'] as const

interface Size {
  readonly id: string
  readonly title: string
  readonly bytes: number
  readonly streams: number
  readonly warmUp: number
}

const SMALL: Size = { id: '300', title: '300 B', bytes: 300, streams: 32, warmUp: 30_000 }
const LARGE: Size = { id: '220k', title: '220 KB', bytes: 220_000, streams: 16, warmUp: 3000 }
const SIZES: readonly Size[] = [
  SMALL,
  { id: '4k', title: '4 KB', bytes: 4000, streams: 32, warmUp: 20_000 },
  { id: '64k', title: '64 KB', bytes: 64_000, streams: 16, warmUp: 6000 },
  LARGE,
  { id: '1m', title: '1 MB', bytes: 1_000_000, streams: 8, warmUp: 600 },
  { id: '4m', title: '4 MB', bytes: 4_000_000, streams: 4, warmUp: 150 },
]

const FACTS = {
  first: 'model first',
  bounded: 'model first, prefix bounded(32 KiB)',
  whole: 'model whole, prefix bounded(32 KiB)',
} as const
type FactClass = keyof typeof FACTS

interface Variation {
  readonly modelLast?: boolean
  readonly facts?: FactClass
}

function load({ bytes, streams }: Size, ...more: readonly string[]): readonly string[] {
  return ['-body', String(bytes), '-c', String(streams), ...more]
}

function suffix({ modelLast, facts = 'bounded' }: Variation): string {
  return `${modelLast === true ? '-last' : ''}${facts === 'bounded' ? '' : `.${facts}`}`
}

function factWords(facts: FactClass): string {
  return facts === 'bounded' ? '' : `, fact ${facts}`
}

/** A router by body has to read it, so from 4 KB on the yardstick is the one that does. */
function baseOf({ id, bytes }: Size): Row['base'] {
  return { row: `fds-${id}`, contender: bytes < 1000 ? 'refserver' : 'refserver-parse' }
}

function duplexRow(size: Size, variation: Variation, contenders: Row['contenders']): Row {
  const { modelLast = false, facts = 'bounded' } = variation
  return {
    id: `fds-${size.id}${suffix(variation)}`,
    title: `${size.title}, full duplex both ways${modelLast ? ', model last' : ''}${factWords(facts)}`,
    facts: FACTS[facts],
    entry: facts === 'bounded' ? 'fds' : `fds.${facts}`,
    duplex: true,
    contenders,
    load: load(size, ...(modelLast ? ['-model-last'] : [])),
    warmUp: size.warmUp,
    unit: 'exchange',
    base: baseOf(size),
  }
}

function lookRow(size: Size, variation: Variation, contenders: Row['contenders']): Row {
  const { modelLast = false, facts = 'bounded' } = variation
  return {
    id: `look-${size.id}-${modelLast ? 'last' : 'first'}${facts === 'bounded' ? '' : `.${facts}`}`,
    title: `${size.title}, look and close, model ${modelLast ? 'last' : 'first'}${factWords(facts)}`,
    facts: FACTS[facts],
    entry: facts === 'bounded' ? 'look' : `look.${facts}`,
    duplex: false,
    contenders,
    load: load(size, '-req', 'look', '-resp', 'none', ...(modelLast ? ['-model-last'] : [])),
    warmUp: size.warmUp,
    unit: 'exchange',
    base: baseOf(size),
  }
}

function responseRow(size: Size, response: 'none' | 'headers', contenders: Row['contenders']): Row {
  const requestOnly = response === 'none'
  return {
    id: `${requestOnly ? 'request' : 'headers'}-${size.id}`,
    title: `${size.title}, full duplex, ${requestOnly ? 'request only' : 'response headers only'}`,
    facts: FACTS.bounded,
    entry: requestOnly ? 'request-only' : 'fds',
    duplex: true,
    contenders,
    load: load(size, '-resp', response),
    warmUp: size.warmUp,
    unit: 'exchange',
    base: { row: `${requestOnly ? 'request' : 'headers'}-${size.id}`, contender: baseOf(size).contender },
  }
}

const ALL = { all: EVERYBODY } as const
const ALL_LOOK = { all: OURS } as const
const LOOK_EVERYWHERE = { quick: ['own'], default: OURS, all: OURS } as const

const SSE: Row = {
  id: 'sse',
  title: 'SSE chunk, full duplex, lockstep',
  facts: 'none read',
  entry: 'fds',
  duplex: true,
  contenders: { quick: ['own', 'refserver'], default: ['own', 'node', 'refserver'], all: EVERYBODY },
  load: ['-body', '300', '-c', '16', '-stream', '-resp-chunks', '200'],
  warmUp: 100,
  unit: 'chunk',
  base: { row: 'sse', contender: 'refserver' },
}

const SSE_USAGE: Row = {
  ...SSE,
  id: 'sse-usage',
  title: 'SSE chunk, full duplex, lockstep, usage counted',
  facts: 'usage',
  entry: 'fds.usage',
  contenders: { quick: ['own'], default: ['own', 'node'], all: OURS },
}

const SMALL_ROWS = [
  duplexRow(
    SMALL,
    {},
    {
      quick: ['own', 'refserver'],
      default: ['own', 'node', 'refserver', 'grpc-js', 'connect-node'],
      all: EVERYBODY,
    },
  ),
  responseRow(SMALL, 'none', { default: ['own', 'refserver'], all: EVERYBODY }),
  responseRow(SMALL, 'headers', ALL),
  lookRow(SMALL, {}, LOOK_EVERYWHERE),
  lookRow(SMALL, { modelLast: true }, ALL_LOOK),
  SSE,
  SSE_USAGE,
]

const LARGE_ROWS = [
  duplexRow(
    LARGE,
    {},
    { quick: ['own', 'refserver-parse'], default: ['own', 'node', 'refserver-parse'], all: EVERYBODY },
  ),
  duplexRow(LARGE, { modelLast: true }, ALL),
  duplexRow(LARGE, { facts: 'first' }, ALL_LOOK),
  duplexRow(LARGE, { facts: 'whole' }, ALL_LOOK),
  responseRow(LARGE, 'none', ALL),
  lookRow(LARGE, {}, LOOK_EVERYWHERE),
  lookRow(LARGE, { modelLast: true }, LOOK_EVERYWHERE),
  lookRow(LARGE, { facts: 'first' }, { default: ['own'], all: OURS }),
  lookRow(LARGE, { facts: 'whole' }, { default: ['own'], all: OURS }),
  lookRow(LARGE, { facts: 'whole', modelLast: true }, ALL_LOOK),
]

function otherRows(size: Size): readonly Row[] {
  return [duplexRow(size, {}, ALL), lookRow(size, {}, ALL_LOOK), lookRow(size, { modelLast: true }, ALL_LOOK)]
}

export const ROWS: readonly Row[] = SIZES.flatMap(size =>
  size === SMALL ? SMALL_ROWS : size === LARGE ? LARGE_ROWS : otherRows(size),
)

/** A row and who plays it in this run. */
export interface Measured {
  readonly row: Row
  readonly contenders: readonly ContenderName[]
}

/**
 * What a selection measures; with `only`, those rows as `all` has them, and (`withBases`) what they are compared with. Peers play
 * what any server can.
 */
export function selectRows(
  selection: Selection,
  only: readonly string[] | undefined,
  peers: readonly ContenderName[],
  withBases: boolean,
): Measured[] {
  const chosen = (row: Row): readonly ContenderName[] => {
    const wanted =
      only === undefined ? row.contenders[selection] : only.includes(row.id) ? row.contenders.all : undefined
    if (wanted !== undefined) return row.duplex ? [...wanted, ...peers] : wanted
    const isBase = withBases && ROWS.some(other => only?.includes(other.id) === true && other.base.row === row.id)
    return isBase ? ['own', row.base.contender] : []
  }
  return ROWS.map(row => ({ row, contenders: chosen(row) })).filter(({ contenders }) => contenders.length > 0)
}

/** What ours must answer besides: the picked endpoint in both carriers, the model as a header, the body byte for byte. */
export const OUR_CHECKS = ['-expect-pick', '-expect-header', 'x-gateway-model-name=m', '-verify-body']
export const OTHERS_CHECKS = ['-verify-body']
