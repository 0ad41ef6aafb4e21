import type { SpanRecord } from '../../../src/host/ports.ts'
import { FAILURE_EVENT, STEPS } from '../../../src/steps.ts'

// A startup of two GPUs has the root, 21 steps, two spans for each of steps 13, 19 and 20, and some pieces of installation.
const SPANS_OF_A_STARTUP = 40
const STARTED_US = 1_790_000_000_000_000

const RESOURCE = {
  'service.name': 'comfy-machine',
  'service.version': '0.1.0',
  'host.name': 'gpu-host-17',
  'host.id': '5b1c0a2e9f3d4c6b8a7e1d2c3b4a5968',
  'os.type': 'linux',
  'os.name': 'Debian GNU/Linux',
  'os.version': '13',
  'os.description': 'Debian GNU/Linux 13 (trixie), Linux 6.12.48+deb13-amd64',
}

/** The span of a number from 0 on, as startups one after another leave them: attributes of a step, in places of a GPU or a failure. */
export function stepSpanOf(index: number): SpanRecord {
  const startup = Math.floor(index / SPANS_OF_A_STARTUP)
  const place = index % SPANS_OF_A_STARTUP
  const step = STEPS[place % STEPS.length]
  if (step === undefined) throw new Error('there are no steps')
  const startUs = STARTED_US + startup * 30_000_000 + place * 91_237
  const failing = place % 10 === 9
  const { event, legacyEvent } = step
  return {
    traceId: hex(startup, 32),
    spanId: hex(index + 1, 16),
    ...(place === 0 ? {} : { parentSpanId: hex(startup * SPANS_OF_A_STARTUP + 1, 16) }),
    name: event,
    startUs,
    endUs: startUs + 45_678,
    attributes: {
      machine_id: 'gpu-host-17',
      gpu_mode: 'actual',
      workers_config: 'comfyui:auto',
      step_number: step.number,
      step_name: step.title,
      phase: step.phase,
      ...(legacyEvent === undefined ? {} : { legacy_event: legacyEvent }),
      'systemd.unit': `comfyui@gpu${place % 8}.service`,
      'systemd.invocation_id': hex(index + 1, 32),
      'systemd.result': failing ? 'exit-code' : 'success',
      ...(place % 3 === 0 ? { 'gpu.index': place % 8, 'gpu.uuid': `GPU-${hex(place % 8, 32)}` } : {}),
      'step.state': failing ? 'failed' : 'done',
    },
    events: failing ? [failureAt(startUs + 40_000, step.number, step.title)] : [],
    links: [],
    ...(failing ? { error: 'CM1901: comfyui@gpu0.service ended with exit status 1' } : {}),
    resource: RESOURCE,
  }
}

function failureAt(atUs: number, number: number, title: string): SpanRecord['events'][number] {
  const attributes = {
    step_number: number,
    step_name: title,
    error_type: 'process_exit',
    error_message: 'comfyui@gpu0.service ended with exit status 1',
    retry_attempt: 1,
    duration_ms: 40,
    error_code: 'CM1901',
    unit: 'comfyui@gpu0.service',
    hint: 'journalctl -u comfyui@gpu0.service',
  }
  return { name: FAILURE_EVENT, atUs, attributes }
}

function hex(value: number, digits: number): string {
  return (value + 1).toString(16).padStart(digits, '0')
}
