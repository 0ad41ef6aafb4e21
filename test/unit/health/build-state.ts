import type { Sighting } from '../../../src/health/record.ts'
import type { FailingState, MachineState, StepPhase, StepState, UnitState } from '../../../src/observe/state.ts'
import { STEPS } from '../../../src/steps.ts'

/** When the startup of every built state began: microseconds since the epoch. */
export const BEGUN_US = 1_790_000_000_000_000

/** A step that began `number` seconds into the startup and took half a second. */
export function buildStep(number: number, state: StepPhase, changes: Partial<StepState> = {}): StepState {
  const row = STEPS[number - 1]
  if (row === undefined) throw new RangeError(`no step ${number}`)
  const startUs = BEGUN_US + number * 1_000_000
  return {
    number,
    title: row.title,
    event: row.event,
    phase: row.phase,
    state,
    ...(state === 'pending' ? {} : { startUs }),
    ...(state === 'pending' || state === 'running' ? {} : { endUs: startUs + 500_000 }),
    attempts: 0,
    attributes: {},
    instances: [],
    ...changes,
  }
}

/** A unit that runs. */
export function buildUnit(name: string, changes: Partial<UnitState> = {}): UnitState {
  return {
    name,
    activeState: 'active',
    subState: 'running',
    result: 'success',
    mainPid: 4711,
    restarts: 0,
    statusText: '',
    invocationId: 'ab'.repeat(16),
    ...changes,
  }
}

/** A model with the wrong hash. */
function buildFailing(changes: Partial<FailingState> = {}): FailingState {
  return {
    step: 18,
    stepName: 'Models Installation',
    unit: 'comfy-install-models.service',
    code: 'CM1804',
    type: 'checksum_mismatch',
    message: 'ae.safetensors: sha256 is 3f01, expected 9a02',
    hint: 'Correct the hash in the API.',
    run: 'journalctl -u comfy-install-models -b -e',
    atUs: BEGUN_US + 18_500_000,
    attempt: 1,
    ...changes,
  }
}

/** A startup in which step 17 runs; `changes` replace what is to be different. */
export function buildState(changes: Partial<MachineState> = {}): MachineState {
  return {
    schema: 1,
    machineId: 'machine-1',
    version: '0.1.0',
    traceId: '0af7651916cd43dd8448eb211c80319c',
    bootId: 'b0'.repeat(16),
    agentPid: 100,
    phase: 'starting',
    step: 16,
    gpuMode: 'mock',
    healthPort: 9090,
    workersConfig: 'comfyui:2',
    startedUs: BEGUN_US,
    startedMonoUs: 500_000_000,
    updatedUs: BEGUN_US + 18_000_000,
    steps: STEPS.map(({ number }) => buildStep(number, number < 17 ? 'done' : number === 17 ? 'running' : 'pending')),
    units: [buildUnit('comfy-health.service'), buildUnit('comfy-install-nodes.service', { activeState: 'activating' })],
    gpus: [{ name: 'gpu0', index: 0, uuid: null, model: 'Mock GPU', memoryMiB: 24_576, mode: 'mock' }],
    workers: [
      {
        id: 'machine-1-worker-comfyui-0',
        unit: 'redis-worker@gpu0.service',
        gpu: 'gpu0',
        type: 'comfyui',
        services: ['comfyui'],
      },
    ],
    restarts: 0,
    lostSpans: 0,
    attempts: [],
    failing: [],
    shortfalls: [],
    warnings: [],
    evidence: { 'comfyui.commit': 'c0ffee', 'nodes.installed': 4 },
    ...changes,
  }
}

/** A startup in which step 18 downloads models. */
export function buildDownloading(): MachineState {
  const progress = {
    done: 3,
    total: 32,
    bytes: 41.2e9,
    totalBytes: 181e9,
    bytesPerSecond: 212e6,
    remainingMs: 659_000,
    current: ['ae.safetensors'],
  }
  const detail = '3/32 models, 41.2/181 GB, 212 MB/s, 11 min left'
  const models = buildStep(18, 'running', { progress, detail, unit: 'comfy-install-models.service' })
  return buildState({ steps: buildState().steps.map((step) => (step.number === 18 ? models : step)) })
}

/** A machine at step 21. */
export function buildReady(changes: Partial<MachineState> = {}): MachineState {
  return buildState({
    phase: 'ready',
    step: 21,
    readyUs: BEGUN_US + 22_000_000,
    steps: STEPS.map(({ number }) => buildStep(number, 'done')),
    ...changes,
  })
}

/** A startup that ended at step 18. */
export function buildFailed(changes: Partial<MachineState> = {}): MachineState {
  return buildState({
    phase: 'failed',
    steps: STEPS.map(({ number }) =>
      number === 18 ? buildStep(18, 'failed', { attempts: 1 }) : buildStep(number, number < 18 ? 'done' : 'pending'),
    ),
    restarts: 0,
    lostSpans: 0,
    attempts: [],
    failing: [buildFailing()],
    ...changes,
  })
}

/** The state as seen while its agent lives. */
export function seen(state: MachineState, alive = true): Sighting {
  return { state, alive }
}
