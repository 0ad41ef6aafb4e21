import { type Finding, median, ratios, type Sample, shown } from './figures.ts'
import type { BenchOptions } from './machine.ts'
import type { ModelServer } from './model-server.ts'
import { ARIA, ARIA_CHECKED, ARIA_MANY, CURL, CURL_MANY, OURS, type Way } from './model-ways.ts'
import { type Taken, together } from './timed-process.ts'

/** What every way took, round by round, program by program. */
export type Found = Map<string, (readonly Taken[])[]>

/** A server as it is reached and a file system that is written to. */
export interface Column {
  readonly name: string
  readonly title: string
  readonly target: 'memory' | 'disk'
  readonly server: keyof ModelServer['urls']
  /** A round trip away: fewer of many files say as much. */
  readonly delayed: boolean
  /** One connection takes so long that what is shown only is run once. */
  readonly slow: boolean
}

/** All columns in the order in which they are run. */
export const COLUMNS: readonly Column[] = [
  { name: 'memory', title: 'to memory', target: 'memory', server: 'plain', delayed: false, slow: false },
  { name: 'disk', title: 'to the disk', target: 'disk', server: 'plain', delayed: false, slow: false },
  {
    name: 'limit',
    title: '50 MB/s per connection (limit_rate)',
    target: 'memory',
    server: 'limited',
    delayed: false,
    slow: true,
  },
  { name: 'delay', title: '50 ms delay', target: 'memory', server: 'far', delayed: true, slow: true },
  { name: 'tls', title: 'TLS', target: 'memory', server: 'tls', delayed: false, slow: false },
]

/** Files to bring, how, and what ours is held to: at most so many times what a peer takes. */
export interface Work {
  readonly count: number
  readonly delayedCount: number
  readonly mib: number
  readonly rounds: number
  readonly ways: readonly Way[]
  readonly shownOnly?: string
  readonly goals: ReadonlyMap<string, number>
}

/** The works of a run. */
export function worksOf({ quick }: BenchOptions): readonly Work[] {
  const rounds = quick ? 2 : 3
  const [one, many] = quick ? [256, 400] : [1024, 2000]
  return [
    {
      ...{ count: 1, delayedCount: 1, mib: one, rounds },
      ways: [ARIA_CHECKED, ARIA, OURS, CURL],
      shownOnly: CURL.name,
      goals: new Map([
        [ARIA_CHECKED.name, 1],
        [ARIA.name, 1.1],
      ]),
    },
    {
      ...{ count: many, delayedCount: 200, mib: 1, rounds },
      ways: [CURL_MANY, ARIA_MANY, OURS],
      goals: new Map([
        [CURL_MANY.name, 0.8],
        [ARIA_MANY.name, 1.1],
      ]),
    },
  ]
}

/** Files of a work in a column. */
export function countOf(work: Work, column?: Column): number {
  return column?.delayed === true ? work.delayedCount : work.count
}

/** A work, and where it is run, for people. */
export function titleOf(work: Work, column?: Column): string {
  const count = countOf(work, column)
  const what = count === 1 ? `one file of ${work.mib} MiB` : `${count} files of ${work.mib} MiB`
  return column === undefined ? what : `${what}, ${column.title}`
}

/** Ours beside every peer that it is held to. */
export function findingsOf(work: Work, column: Column, found: Found): readonly Finding[] {
  const wall = (name: string): Sample => (found.get(name) ?? []).map((parts) => together(parts).wallMs)
  const ours = wall(OURS.name)
  return [...work.goals].map(([peer, goal]) => ({
    figure: `models: ${titleOf(work, column)}`,
    ours: `${shown(median(ours))} ms`,
    beside: `${peer} ${shown(median(wall(peer)))} ms`,
    value: median(ratios(ours, wall(peer))),
    goal,
  }))
}

/** CPU time of ours beside that of curl, which has its part in the figure 1.2 times, and of one pass of openssl. */
export function cpuFinding(work: Work, found: Found): readonly Finding[] {
  const theirs = (found.get(CURL.name) ?? []).map(([curl, openssl]) => 1.2 * (curl?.cpuMs ?? 0) + (openssl?.cpuMs ?? 0))
  if (theirs.length === 0) return []
  const ours = (found.get(OURS.name) ?? []).map((parts) => together(parts).cpuMs)
  const perGib = (ms: Sample): string => `${shown(median(ms) / 1000 / ((work.count * work.mib) / 1024))} s`
  return [
    {
      figure: `models: CPU for 1 GiB, ${titleOf(work)}`,
      ours: perGib(ours),
      beside: `1.2 × curl + openssl sha256 ${perGib(theirs)}`,
      value: median(ratios(ours, theirs)),
      goal: 1,
    },
  ]
}
