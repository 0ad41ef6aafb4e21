import type { MachineState, StepPhase, StepState } from '../observe/state.ts'
import { counter, type Family, gauge, known, type Labels, type Sample } from './families.ts'
import type { Sighting } from './record.ts'
import { durationMs, knownUntilUs } from './reports.ts'
import { judge } from './standing.ts'

const STEP_STATES: readonly StepPhase[] = ['pending', 'running', 'done', 'skipped', 'failed']
const PHASES = ['starting', 'ready', 'degraded', 'failed', 'stopped', 'unknown'] as const

/** What is known of the machine as a whole, with a record or without one. */
export function standingFamilies(sighting: Sighting): readonly Family[] {
  const { ready, healthy, phase } = judge(sighting)
  return [
    gauge('comfy_machine_ready', 'Whether the machine takes jobs (1) or not (0).', [{ value: Number(ready) }]),
    gauge('comfy_machine_healthy', 'Whether the host agent is alive and at work (1) or not (0).', [
      { value: Number(healthy) },
    ]),
    gauge(
      'comfy_machine_phase',
      'The phase of the machine: 1 for the one it is in.',
      PHASES.map((name) => ({ labels: { phase: name }, value: Number(name === phase) })),
    ),
  ]
}

/** What stands in the record of the machine: the startup and its units. */
export function machineFamilies(state: MachineState): readonly Family[] {
  const info = { version: state.version, machine_id: state.machineId, gpu_mode: state.gpuMode }
  const { readyUs, startedUs } = state
  return [
    gauge('comfy_machine_info', 'What this machine is; always 1.', [{ labels: info, value: 1 }]),
    gauge('comfy_machine_gpus', 'GPUs that the machine uses.', [{ value: state.gpus.length }]),
    gauge('comfy_machine_workers', 'Redis workers of the machine.', [{ value: state.workers.length }]),
    gauge('comfy_machine_warnings', 'Warnings of the current startup.', [{ value: state.warnings.length }]),
    gauge('comfy_machine_startup_start_timestamp_seconds', 'When the current startup began.', [
      { value: startedUs / 1e6 },
    ]),
    gauge('comfy_machine_state_timestamp_seconds', 'When the state last changed.', [{ value: state.updatedUs / 1e6 }]),
    gauge(
      'comfy_machine_startup_duration_seconds',
      'Time from the begin of the startup to step 21; absent before.',
      known(readyUs === undefined ? undefined : (readyUs - startedUs) / 1e6),
    ),
    gauge(
      'comfy_machine_failing',
      'One sample per reason why the machine is not ready; always 1.',
      unique(state.failing.map(({ step, code, unit, type }) => ({ step, code, unit, type }))),
    ),
    gauge(
      'comfy_machine_shortfalls',
      'Parts that the machine goes on without, by failure code; none when it has all.',
      countByCode(state),
    ),
    gauge(
      'comfy_machine_unit_active',
      'Whether each unit is active (1) or not (0).',
      state.units.map((unit) => ({ labels: { unit: unit.name }, value: Number(unit.activeState === 'active') })),
    ),
    counter(
      'comfy_machine_unit_restarts_total',
      'Restarts of each unit by systemd.',
      state.units.map((unit) => ({ labels: { unit: unit.name }, value: unit.restarts, sinceUs: startedUs })),
    ),
  ]
}

/** The steps of the current startup. */
export function stepFamilies({ state, alive }: Sighting, nowUs: number): readonly Family[] {
  if (state === undefined) return []
  const untilUs = knownUntilUs(state, alive, nowUs)
  const sinceUs = state.startedUs
  const counted = (value: (step: StepState) => number): readonly Sample[] =>
    state.steps.map((step) => ({ labels: labelsOf(step), value: value(step), sinceUs }))
  return [
    gauge(
      'comfy_machine_step_state',
      'The state of each startup step: 1 for the one it is in.',
      state.steps.flatMap((step) =>
        STEP_STATES.map((name) => ({
          labels: { ...labelsOf(step), state: name },
          value: Number(step.state === name),
        })),
      ),
    ),
    gauge(
      'comfy_machine_step_duration_seconds',
      'How long each startup step took, or has taken so far.',
      state.steps.flatMap((step) => {
        const ms = durationMs(step, untilUs)
        return ms === null ? [] : [{ labels: labelsOf(step), value: ms / 1000 }]
      }),
    ),
    counter(
      'comfy_machine_step_failures_total',
      'Failed attempts of each step in the current startup.',
      counted((step) => step.attempts),
    ),
    counter(
      'comfy_machine_step_retries_total',
      'Attempts of each step in the current startup that were made again after a failure.',
      // Every failed attempt was followed by another, except for the one that a step ended with.
      counted((step) => Math.max(0, step.attempts - Number(step.state === 'failed'))),
    ),
  ]
}

function labelsOf(step: StepState): Labels {
  return { step: step.number, event: step.event }
}

function countByCode({ shortfalls }: MachineState): readonly Sample[] {
  const codes = [...new Set(shortfalls.map(({ code }) => code))].sort()
  return codes.map((code) => ({ labels: { code }, value: shortfalls.filter((each) => each.code === code).length }))
}

function unique(labelSets: readonly Labels[]): readonly Sample[] {
  const byText = new Map(labelSets.map((labels) => [JSON.stringify(labels), labels]))
  return [...byText.values()].map((labels) => ({ labels, value: 1 }))
}
