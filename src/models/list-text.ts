import { formatBytes } from '../emit/bytes.ts'
import { tableLines } from '../emit/table.ts'
import type { ModelRow, ModelStanding } from './list-models.ts'
import { MACHINE } from './reach.ts'

const SHOWN_DIGITS = 12
const ID_DIGITS = 8

const WORDS: Readonly<Record<ModelStanding, string>> = {
  in_place: 'in place',
  unverified: 'unverified',
  stored: 'in the store only',
  partial: 'partial',
  missing: 'missing',
}

/** The table of models for people, and below it how many there are and what they take on the disk. */
export function listLines(rows: readonly ModelRow[], diskBytes: number): readonly string[] {
  if (rows.length === 0) return ['no model is wanted, and none is in the store']
  const table = [
    ['MODEL', 'SIZE', 'SHA256', 'STATE', 'WANTED BY'],
    ...rows.map((row) => [
      row.path ?? row.name,
      row.bytes === null ? '-' : formatBytes(row.bytes),
      row.sha256?.slice(0, SHOWN_DIGITS) ?? '-',
      stateText(row),
      wantedText(row),
    ]),
  ]
  const models = rows.length === 1 ? '1 model' : `${rows.length} models`
  return [...tableLines(table), `${models}, ${formatBytes(diskBytes)} on the disk`]
}

function stateText({ state, arrived_bytes, bytes, pinned }: ModelRow): string {
  const share = arrived_bytes === null || bytes === null || bytes === 0 ? '' : ` ${percent(arrived_bytes, bytes)}`
  return `${WORDS[state]}${share}${pinned ? ', pinned' : ''}`
}

function percent(part: number, whole: number): string {
  // What is not whole is never 100 %.
  return `${Math.min(99, Math.floor((part / whole) * 100))} %`
}

function wantedText({ wanted_by, after_start }: ModelRow): string {
  const who = wanted_by.map((by) => (by === MACHINE || !/^[0-9a-f]{16}$/.test(by) ? by : by.slice(0, ID_DIGITS)))
  return `${who.join(' ') || '-'}${after_start ? ', after the start' : ''}`
}
