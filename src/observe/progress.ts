import type { UnitSnapshot } from '../host/ports.ts'
import type { FileProgress, Progress } from '../report.ts'
import type { Machine } from './machine.ts'
import type { StepState } from './state.ts'

const MOST_NAMES = 8
const LONGEST_NAME = 200

/** The progress of one invocation in a text of `progress.json`, which can hold anything; undefined when it is of another one or none. */
export function parseProgress(text: string | undefined, invocationId: string): Progress | undefined {
  const value = parseObject(text)
  if (value === undefined || value['invocationId'] !== invocationId) return undefined
  const [done, total] = [readNumber(value['done']), readNumber(value['total'])]
  if (done === undefined || total === undefined) return undefined
  const names: unknown[] = Array.isArray(value['current']) ? value['current'] : []
  const texts = names.filter((name) => typeof name === 'string').slice(0, MOST_NAMES)
  const entries: unknown[] = Array.isArray(value['files']) ? value['files'] : []
  const files = entries.slice(0, MOST_NAMES).flatMap(readFile)
  return {
    done: Math.min(done, total),
    total,
    ...readSizes(value),
    current: texts.map((name) => name.slice(0, LONGEST_NAME)),
    ...(files.length === 0 ? {} : { files }),
  }
}

function readFile(value: unknown): readonly FileProgress[] {
  if (typeof value !== 'object' || value === null) return []
  const { name, ...sizes }: Readonly<Record<string, unknown>> = { ...value }
  const known = readSizes(sizes)
  const { bytes } = known
  return typeof name !== 'string' || bytes === undefined ? [] : [{ name: name.slice(0, LONGEST_NAME), ...known, bytes }]
}

const SIZES = ['bytes', 'totalBytes', 'bytesPerSecond', 'remainingMs'] as const

function readSizes(value: Readonly<Record<string, unknown>>): Partial<Record<(typeof SIZES)[number], number>> {
  const known = SIZES.map((name) => [name, readNumber(value[name])] as const)
  return Object.fromEntries(known.filter(([, size]) => size !== undefined))
}

/** Shows the progress of the unit's step while the step runs; without a new one the last stays, and none outlasts the run. */
export function foldProgress(
  machine: Machine,
  number: number,
  unit: UnitSnapshot,
  progress: Progress | undefined,
): Machine {
  const runs = unit.activeState === 'activating' && !unit.subState.includes('auto-restart')
  if (runs && progress === undefined) return machine
  const steps = machine.state.steps.map((step) => {
    if (step.number !== number) return step
    return runs && progress !== undefined && step.state === 'running' ? { ...step, progress } : withoutProgress(step)
  })
  return { ...machine, state: { ...machine.state, steps } }
}

function withoutProgress(step: StepState): StepState {
  if (step.progress === undefined) return step
  const { progress: _, ...rest } = step
  return rest
}

function parseObject(text: string | undefined): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text ?? '')
    return typeof value === 'object' && value !== null ? { ...value } : undefined
  } catch {
    return undefined
  }
}

function readNumber(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value : undefined
}
