import { mkdir, readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { Recorder } from '../../../src/emit/recorder.ts'
import { stepSpans } from '../../../src/emit/spans.ts'
import { systemClock } from '../../../src/host/clock.ts'
import { systemFiles } from '../../../src/host/files.ts'
import type { ManagerEvent, Notify } from '../../../src/host/ports.ts'
import { connectManager } from '../../../src/host/systemd-manager.ts'
import { Follower } from '../../../src/observe/follow.ts'
import { type Happening, type Machine, newMachine, withPlan } from '../../../src/observe/machine.ts'
import type { FailingState } from '../../../src/observe/state.ts'
import { planOf } from '../../unit/observe/build-machine.ts'

// Runs inside a test host, bundled into one file: `observe-units.mjs UNITS.json SECONDS` starts the units of a file (name to
// text) at once, follows them as the controller does, goes on for some seconds once each has come to an end of its start, and
// prints what it recorded of them, see `Observed`.

/** One unit as the machine recorded it, and what was told of it on the way. */
export interface ObservedUnit {
  readonly unit: string
  readonly outcome: string | undefined
  readonly states: readonly string[]
  readonly jobResults: readonly string[]
  readonly span: { readonly id: string; readonly startUs: number; readonly endUs: number } | undefined
  readonly attempts: readonly FailingState[]
}

/** What the program prints. */
export interface Observed {
  readonly seconds: number
  readonly signals: number
  readonly foldMs: number
  readonly foldMsOfFirstHalf: number
  readonly cpuMs: number
  /** What it costs to look at every unit once, as the safety net does. */
  readonly lookMs: number
  readonly steps: readonly (readonly [number, string])[]
  readonly problems: readonly string[]
  readonly units: readonly ObservedUnit[]
}

const UNITS = '/run/systemd/system'
const TARGET = 'comfy-machine.target'
const SILENT: Notify = {
  ready: () => undefined,
  stopping: () => undefined,
  status: () => undefined,
  extend: () => undefined,
  watchdog: () => undefined,
}

async function writeUnits(texts: Readonly<Record<string, string>>): Promise<void> {
  await mkdir(UNITS, { recursive: true })
  const wants = Object.keys(texts).map((unit) => `Wants=${unit}`)
  const files = Object.entries({ ...texts, [TARGET]: ['[Unit]', ...wants, ''].join('\n') })
  await Promise.all(files.map(([unit, text]) => writeFile(path.join(UNITS, unit), text)))
}

function newFollowed(units: readonly string[]): Machine {
  const identity = { machineId: 'm', version: '0', traceId: '5'.repeat(32), bootId: 'b', agentPid: process.pid }
  const startedMonoUs = Number(process.hrtime.bigint() / 1000n)
  return withPlan(
    newMachine({ ...identity, startedUs: systemClock.nowUs(), startedMonoUs }),
    planOf(units.filter((unit) => unit.startsWith('comfyui@')).length),
    units,
  )
}

/** Keeps what the manager tells of each unit, before anybody makes sense of it. */
function keepTold(units: readonly string[]) {
  const told = new Map(units.map((unit) => [unit, { states: new Set<string>(), jobResults: [] as string[] }]))
  let signals = 0
  const keep = (event: ManagerEvent): void => {
    signals += 1
    if (event.kind === 'unit') told.get(event.unit.name)?.states.add(event.unit.activeState)
    if (event.kind === 'job-removed') told.get(event.unit)?.jobResults.push(event.result)
  }
  return { told, keep, signals: () => signals }
}

async function observe(texts: Readonly<Record<string, string>>, restS: number): Promise<Observed> {
  const units = Object.keys(texts)
  await writeUnits(texts)
  const manager = await connectManager()
  await manager.reload()
  const [happenings, problems]: [Happening[], string[]] = [[], []]
  const host = { clock: systemClock, files: systemFiles, journal: { write: () => undefined }, notify: SILENT }
  const recorder = new Recorder(
    { ...host, stateFile: '/run/observed/state.json', resource: {}, readLines: async () => [] },
    newFollowed(units),
  )
  await mkdir('/run/observed', { recursive: true })
  const spent: number[] = []
  const follower = new Follower(
    {
      manager,
      files: systemFiles,
      reports: '/run/observed',
      machine: () => recorder.machine,
      nowUs: systemClock.nowUs,
      onProblem: (problem) => void problems.push(String(problem)),
      fold: (apply) => {
        const begun = performance.now()
        recorder.fold((machine) => {
          const folded = apply(machine)
          happenings.push(...folded.happenings)
          return folded
        })
        spent.push(performance.now() - begun)
      },
    },
    units,
  )
  const { told, keep, signals } = keepTold(units)
  manager.follow(keep)
  follower.start()
  const begun = performance.now()
  await manager.start(TARGET)
  const isSettled = ({ outcomes }: Machine): boolean => ![...outcomes.values()].includes('pending')
  await recorder.until(isSettled, AbortSignal.timeout(240_000)).catch(() => problems.push('not every unit ended'))
  await follower.settled()
  const seconds = (performance.now() - begun) / 1000
  await new Promise((resolve) => setTimeout(resolve, restS * 1000))
  follower.stop()
  await recorder.flush()
  const cpuMs = usedMs()
  await manager.load(units)
  const lookMs = usedMs() - cpuMs
  await manager.close()
  const { machine } = recorder
  const context = { traceId: machine.state.traceId, resource: {} }
  const ended = happenings.filter((each) => each.kind === 'step-ended')
  const spans = ended.flatMap((each) => (each.step.number === 13 ? [] : stepSpans(machine, each, context)))
  const spanOf = (unit: string) => spans.find(({ attributes }) => attributes['systemd.unit'] === unit)
  const sum = (times: readonly number[]): number => times.reduce((total, each) => total + each, 0)
  return {
    seconds,
    signals: signals(),
    foldMs: sum(spent),
    foldMsOfFirstHalf: sum(spent.slice(0, spent.length / 2)),
    cpuMs,
    lookMs,
    steps: ended.map(({ step }) => [step.number, step.state] as const),
    problems,
    units: units.map((unit): ObservedUnit => {
      const span = spanOf(unit)
      return {
        unit,
        outcome: machine.outcomes.get(unit),
        states: [...(told.get(unit)?.states ?? [])],
        jobResults: told.get(unit)?.jobResults ?? [],
        span: span && { id: span.spanId, startUs: span.startUs, endUs: span.endUs },
        attempts: machine.state.attempts.filter((each) => each.unit === unit),
      }
    }),
  }
}

function usedMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

const [, , file = '', rest = '0'] = process.argv
const texts = JSON.parse(await readFile(file, 'utf8')) as Readonly<Record<string, string>>
process.stdout.write(`${JSON.stringify(await observe(texts, Number(rest)))}\n`)
