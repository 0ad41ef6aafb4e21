import type { StepPhase } from '../observe/state.ts'
import type { Sighting } from './record.ts'
import { durationMs, knownUntilUs } from './reports.ts'
import { judge } from './standing.ts'

const STEP_STATES: readonly StepPhase[] = ['pending', 'running', 'done', 'skipped', 'failed']
const PHASES = ['starting', 'ready', 'degraded', 'failed', 'stopped', 'unknown'] as const

type Labels = Readonly<Record<string, string | number>>

interface Sample {
  readonly labels?: Labels
  readonly value: number
}

interface Family {
  readonly name: string
  readonly type: 'gauge' | 'counter'
  readonly help: string
  readonly samples: readonly Sample[]
}

/** `GET /metrics` in the Prometheus text format 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats). */
export function renderMetrics(sighting: Sighting, nowUs: number): string {
  return [...machineFamilies(sighting), ...stateFamilies(sighting, nowUs)]
    .filter((family) => family.samples.length > 0)
    .map(renderFamily)
    .join('')
}

function machineFamilies(sighting: Sighting): readonly Family[] {
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

function stateFamilies(sighting: Sighting, nowUs: number): readonly Family[] {
  const { state, alive } = sighting
  if (state === undefined) return []
  const untilUs = knownUntilUs(state, alive, nowUs)
  const info = { version: state.version, machine_id: state.machineId, gpu_mode: state.gpuMode }
  return [
    gauge('comfy_machine_info', 'What this machine is; always 1.', [{ labels: info, value: 1 }]),
    gauge('comfy_machine_gpus', 'GPUs that the machine uses.', [{ value: state.gpus.length }]),
    gauge('comfy_machine_workers', 'Redis workers of the machine.', [{ value: state.workers.length }]),
    gauge('comfy_machine_warnings', 'Warnings of the current startup.', [{ value: state.warnings.length }]),
    gauge('comfy_machine_startup_start_timestamp_seconds', 'When the current startup began.', [
      { value: state.startedUs / 1e6 },
    ]),
    gauge('comfy_machine_state_timestamp_seconds', 'When the state last changed.', [{ value: state.updatedUs / 1e6 }]),
    gauge(
      'comfy_machine_startup_duration_seconds',
      'Time from the begin of the startup to step 21; absent before.',
      state.readyUs === undefined ? [] : [{ value: (state.readyUs - state.startedUs) / 1e6 }],
    ),
    gauge(
      'comfy_machine_step_state',
      'The state of each startup step: 1 for the one it is in.',
      state.steps.flatMap((step) =>
        STEP_STATES.map((name) => ({
          labels: { step: step.number, event: step.event, state: name },
          value: Number(step.state === name),
        })),
      ),
    ),
    gauge(
      'comfy_machine_step_duration_seconds',
      'How long each startup step took, or has taken so far.',
      state.steps.flatMap((step) => {
        const ms = durationMs(step, untilUs)
        return ms === null ? [] : [{ labels: { step: step.number, event: step.event }, value: ms / 1000 }]
      }),
    ),
    {
      name: 'comfy_machine_step_failures_total',
      type: 'counter',
      help: 'Failed attempts of each step in the current startup.',
      samples: state.steps.map((step) => ({
        labels: { step: step.number, event: step.event },
        value: step.attempts,
      })),
    },
    gauge(
      'comfy_machine_failing',
      'One sample per reason why the machine is not ready; always 1.',
      unique(state.failing.map(({ step, code, unit, type }) => ({ step, code, unit, type }))),
    ),
    gauge(
      'comfy_machine_unit_active',
      'Whether each unit is active (1) or not (0).',
      state.units.map((unit) => ({ labels: { unit: unit.name }, value: Number(unit.activeState === 'active') })),
    ),
    {
      name: 'comfy_machine_unit_restarts_total',
      type: 'counter',
      help: 'Restarts of each unit by systemd.',
      samples: state.units.map((unit) => ({ labels: { unit: unit.name }, value: unit.restarts })),
    },
  ]
}

function gauge(name: string, help: string, samples: readonly Sample[]): Family {
  return { name, type: 'gauge', help, samples }
}

function unique(labelSets: readonly Labels[]): readonly Sample[] {
  const byText = new Map(labelSets.map((labels) => [renderLabels(labels), labels]))
  return [...byText.values()].map((labels) => ({ labels, value: 1 }))
}

function renderFamily(family: Family): string {
  const help = family.help.replace(/\\/g, '\\\\').replace(/\n/g, '\\n')
  const samples = family.samples.map(({ labels, value }) => `${family.name}${renderLabels(labels)} ${value}\n`)
  return `# HELP ${family.name} ${help}\n# TYPE ${family.name} ${family.type}\n${samples.join('')}`
}

function renderLabels(labels: Labels | undefined): string {
  if (labels === undefined) return ''
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escapeLabel(String(value))}"`)
  return `{${pairs.join(',')}}`
}

function escapeLabel(value: string): string {
  return value.replace(/\\/g, '\\\\').replace(/"/g, '\\"').replace(/\n/g, '\\n')
}
