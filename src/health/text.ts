import { laterModelsSentence } from '../emit/later-models-words.ts'
import { renderRate, renderRemaining } from '../emit/rate.ts'
import type { MachineState, StepPhase, StepState } from '../observe/state.ts'
import type { FileProgress, Progress } from '../report.ts'
import { cut, flat, formatDuration } from './format.ts'
import { barOf, fractionOf } from './progress-bar.ts'
import type { Sighting } from './record.ts'
import { durationMs, knownUntilUs } from './reports.ts'
import { finishedCount, judge, type Standing } from './standing.ts'

/** How wide and in what style text is laid out. */
export interface TextStyle {
  readonly colour: boolean
  /** Longer lines are cut; absent: nothing is cut. */
  readonly columns?: number
  /** Leading finished steps are folded into one line where the text would be longer; absent: never. */
  readonly rows?: number
}

const COLOURS: Readonly<Record<StepPhase, string>> = {
  pending: '2',
  running: '36',
  done: '32',
  skipped: '2',
  failed: '31',
}

/** A smaller terminal has no room for a bar per file. */
const ROWS_FOR_FILES = 24
const MOST_FILES = 4

/** A line as parts, so that colour does not count as width. */
type Line = readonly (string | { readonly text: string; readonly sgr: string })[]

/** The whole status as lines: header, what fails, the 21 steps. */
export function statusLines(sighting: Sighting, nowUs: number, style: TextStyle): readonly string[] {
  const { state } = sighting
  const standing = judge(sighting)
  if (state === undefined) return [`comfy-machine: ${flat(standing.reason)}`]
  const untilUs = knownUntilUs(state, sighting.alive, nowUs)
  const head = [...headLines(state, standing, untilUs), ...noteLines(state), ['']]
  const later = laterLines(state, style)
  const steps = state.steps.flatMap((step) => stepLines(step, untilUs, style))
  const room = style.rows === undefined ? Number.POSITIVE_INFINITY : style.rows - head.length - later.length - 1
  const lines = [...head, ...(steps.length > room ? fold(state, steps, room) : steps), ...later]
  return lines.map((line) => paint(line, style))
}

/** One line about a change of one step, for a log of a startup. */
export function stepChangeLine(step: StepState, untilUs: number, style: TextStyle): string {
  return paint(stepLine(step, untilUs), style)
}

function headLines(state: MachineState, standing: Standing, untilUs: number): readonly Line[] {
  const mood: StepPhase = standing.ready
    ? 'done'
    : standing.healthy && state.phase === 'starting'
      ? 'running'
      : 'failed'
  const took = formatDuration(((state.readyUs ?? untilUs) - state.startedUs) / 1000)
  const gpus = state.gpus.map((gpu) => `${gpu.name} ${flat(gpu.model)}`).join(', ')
  const time = state.readyUs === undefined ? `for ${took}` : `ready after ${took}`
  return [
    [
      `${flat(state.machineId)}  `,
      { text: state.phase, sgr: COLOURS[mood] },
      `  ${finishedCount(state)} of ${state.steps.length} steps  ${time}  (comfy-machine ${flat(state.version)})`,
    ],
    [{ text: flat(standing.reason), sgr: standing.ready ? '2' : '1' }],
    [`trace    ${flat(state.traceId)}`],
    [`gpus     ${gpus === '' ? 'none yet' : `${state.gpus.length} ${state.gpuMode}: ${gpus}`}`],
    [`workers  ${state.workers.length === 0 ? 'none yet' : state.workers.map((worker) => flat(worker.id)).join(', ')}`],
  ]
}

function noteLines(state: MachineState): readonly Line[] {
  const failing = state.failing.flatMap((item): readonly Line[] => [
    [''],
    [{ text: `${item.code}`, sgr: '31' }, `  step ${item.step} ${flat(item.stepName)}, ${flat(item.unit)}`],
    [`        ${flat(item.message)}`],
    [`        ${flat(item.hint)}`],
    [`        run: ${flat(item.run)}`],
  ])
  const shortfalls = state.shortfalls.flatMap((item): readonly Line[] => [
    [{ text: item.code, sgr: '33' }, `  without ${flat(item.component)}, ${flat(item.unit)}`],
    [`        ${flat(item.message)}`],
    [`        ${flat(item.hint)}`],
  ])
  const degraded = shortfalls.length === 0 ? [] : [[''], [{ text: 'degraded', sgr: '33' }], ...shortfalls]
  const warnings = state.warnings.map((warning): Line => [{ text: 'warning', sgr: '33' }, `  ${flat(warning)}`])
  return [...failing, ...degraded, ...(warnings.length === 0 ? [] : [[''], ...warnings])]
}

function stepLine(step: StepState, untilUs: number): Line {
  return lineOf(step, untilUs, aboutStep(step, step.detail ?? ''))
}

/** A step that tells how far it is has a line for that: bar, share, and its own words. */
function stepLines(step: StepState, untilUs: number, style: TextStyle): readonly Line[] {
  if (step.progress === undefined) return [stepLine(step, untilUs)]
  const words = step.detail ?? `${step.progress.done}/${step.progress.total}`
  return [lineOf(step, untilUs, aboutStep(step, '')), ...progressLines(step.progress, words, style)]
}

/** The bar of all with its words and, where the terminal has room for them, one for each of the files that are worked on. */
function progressLines(progress: Progress, words: string, style: TextStyle): readonly Line[] {
  const isRoomy = style.rows !== undefined && style.rows >= ROWS_FOR_FILES && progress.total > 1
  const files = isRoomy ? (progress.files ?? []) : []
  const more = files.length <= MOST_FILES ? [] : [[`      and ${files.length - MOST_FILES} more`]]
  return [
    barLine('    ', fractionOf(progress), words, style),
    ...files
      .slice(0, MOST_FILES)
      .map((file) =>
        barLine('      ', fractionOf({ ...file, done: 0, total: 0, current: [] }), fileWords(file), style),
      ),
    ...more,
  ]
}

function fileWords({ name, bytesPerSecond, remainingMs }: FileProgress): string {
  const rate = bytesPerSecond === undefined ? [] : [renderRate(bytesPerSecond)]
  return [name, ...rate, ...(remainingMs === undefined ? [] : [`${renderRemaining(remainingMs)} left`])].join(', ')
}

function barLine(indent: string, fraction: number, words: string, style: TextStyle): Line {
  const share = `${Math.floor(fraction * 100)}%`.padStart(4)
  return [indent, { text: barOf(fraction, style.columns), sgr: COLOURS.running }, `${share}  ${flat(words)}`]
}

/** What goes on after the start. */
function laterLines({ laterModels }: MachineState, style: TextStyle): readonly Line[] {
  if (laterModels?.state === 'waiting') return [[''], ['loading after the start: it failed, and is tried again']]
  const sentence = laterModelsSentence(laterModels)
  if (sentence === undefined) return []
  const { progress } = laterModels ?? {}
  return [[''], [flat(sentence)], ...(progress === undefined ? [] : progressLines(progress, '', style))]
}

function lineOf(step: StepState, untilUs: number, about: string): Line {
  const ms = durationMs(step, untilUs)
  const time = ms === null ? '' : formatDuration(ms)
  return [
    `${String(step.number).padStart(2)}  ${step.title.padEnd(26)} `,
    { text: step.state.padEnd(8), sgr: COLOURS[step.state] },
    `${time.padStart(11)}${about === '' ? '' : `  ${about}`}`,
  ]
}

function aboutStep(step: StepState, said: string): string {
  const finished = step.instances.filter((part) => part.state === 'done' || part.state === 'skipped').length
  const gpus = step.instances.length > 1 ? `${finished}/${step.instances.length} GPUs` : ''
  const detail = step.state === 'running' || step.state === 'failed' ? flat(said) : ''
  const attempts = step.attempts > 0 ? `${step.attempts} failed ${step.attempts === 1 ? 'attempt' : 'attempts'}` : ''
  return [flat(step.unit ?? ''), gpus, detail, attempts].filter((text) => text !== '').join('  ')
}

function fold(state: MachineState, lines: readonly Line[], room: number): readonly Line[] {
  const open = state.steps.findIndex((step) => step.state !== 'done' && step.state !== 'skipped')
  const leading = open === -1 ? state.steps.length : open
  const folded = Math.min(leading, lines.length - room + 1)
  if (folded < 2) return lines
  return [[{ text: `1-${folded}  done`, sgr: '2' }], ...lines.slice(folded)]
}

function paint(line: Line, style: TextStyle): string {
  let left = style.columns ?? Number.POSITIVE_INFINITY
  const parts = line.map((part) => {
    const text = cut(typeof part === 'string' ? part : part.text, left)
    left -= text.length
    if (typeof part === 'string' || !style.colour || text === '') return text
    return `\u001b[${part.sgr}m${text}\u001b[0m`
  })
  return parts.join('').trimEnd()
}
