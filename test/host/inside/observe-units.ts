import { mkdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { Recorder } from '../../../src/emit/recorder.ts'
import { stepSpans } from '../../../src/emit/spans.ts'
import { systemClock } from '../../../src/host/clock.ts'
import { systemFiles } from '../../../src/host/files.ts'
import type { ManagerEvent, Notify } from '../../../src/host/ports.ts'
import { connectManager } from '../../../src/host/systemd-manager.ts'
import { Follower } from '../../../src/observe/follow.ts'
import { type Happening, type Machine, newMachine, withPlan } from '../../../src/observe/machine.ts'
import { planOf } from '../../unit/observe/build-machine.ts'

// Runs inside a test host, bundled into one file: `observe-units.mjs GPUS` starts two units per GPU at once, follows them as
// the controller does and prints what it recorded of them, see `Observed`.

/** One unit as the machine recorded it, and what was told of it on the way. */
export interface ObservedUnit {
  readonly unit: string
  readonly outcome: string | undefined
  readonly states: readonly string[]
  readonly jobResults: readonly string[]
  readonly span: { readonly id: string; readonly startUs: number; readonly endUs: number } | undefined
}

/** What the program prints. */
export interface Observed {
  readonly seconds: number
  readonly signals: number
  readonly foldMs: number
  readonly foldMsOfFirstHalf: number
  readonly cpuMs: number
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

async function writeUnits(units: readonly string[]): Promise<void> {
  await mkdir(UNITS, { recursive: true })
  const service = (index: number): string =>
    [
      '[Unit]',
      'DefaultDependencies=no',
      '[Service]',
      'Type=oneshot',
      `RemainAfterExit=${index % 2 === 0 ? 'yes' : 'no'}`,
      `ExecStart=/bin/sleep 0.00${1 + (index % 5)}`,
      '',
    ].join('\n')
  await Promise.all(units.map((unit, index) => writeFile(path.join(UNITS, unit), service(index))))
  await writeFile(path.join(UNITS, TARGET), ['[Unit]', ...units.map((unit) => `Wants=${unit}`), ''].join('\n'))
}

function newFollowed(gpus: number, units: readonly string[]): Machine {
  const identity = { machineId: 'm', version: '0', traceId: '5'.repeat(32), bootId: 'b', agentPid: process.pid }
  const startedMonoUs = Number(process.hrtime.bigint() / 1000n)
  return withPlan(newMachine({ ...identity, startedUs: systemClock.nowUs(), startedMonoUs }), planOf(gpus), units)
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

async function observe(gpus: number): Promise<Observed> {
  const units = Array.from({ length: gpus }, (_, gpu) => [
    `comfyui@gpu${gpu}.service`,
    `redis-worker@gpu${gpu}.service`,
  ])
    .flat()
    .sort()
  await writeUnits(units)
  const manager = await connectManager()
  await manager.reload()
  const [happenings, problems]: [Happening[], string[]] = [[], []]
  const host = { clock: systemClock, files: systemFiles, journal: { write: () => undefined }, notify: SILENT }
  const recorder = new Recorder(
    { ...host, stateFile: '/run/observed/state.json', resource: {}, readLines: async () => [] },
    newFollowed(gpus, units),
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
  follower.stop()
  await recorder.flush()
  await manager.close()
  const { machine } = recorder
  const context = { traceId: machine.state.traceId, resource: {}, readLines: async () => [] }
  const ended = happenings.filter((each) => each.kind === 'step-ended')
  const spans = ended.flatMap((each) => (each.step.number === 13 ? [] : stepSpans(machine, each, context)))
  const spanOf = (unit: string) => spans.find(({ attributes }) => attributes['systemd.unit'] === unit)
  const sum = (times: readonly number[]): number => times.reduce((total, each) => total + each, 0)
  return {
    seconds,
    signals: signals(),
    foldMs: sum(spent),
    foldMsOfFirstHalf: sum(spent.slice(0, spent.length / 2)),
    cpuMs: process.cpuUsage().user / 1000 + process.cpuUsage().system / 1000,
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
      }
    }),
  }
}

process.stdout.write(`${JSON.stringify(await observe(Number(process.argv[2])))}\n`)
