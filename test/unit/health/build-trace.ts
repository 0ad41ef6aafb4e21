import type { SpanRecord } from '../../../src/host/ports.ts'
import { FAILURE_EVENT, INCIDENT_SPAN, STARTUP_SPAN, stepOf } from '../../../src/steps.ts'

/** When every built startup began: 2026-09-21T14:13:20Z in microseconds since the epoch. */
export const BEGUN_US = 1_790_000_000_000_000
export const TRACE_ID = '0af7651916cd43dd8448eb211c80319c'

/** A span; times are milliseconds after the begin of the startup. */
export function buildSpan(
  spanId: string,
  startMs: number,
  endMs: number,
  changes: Partial<SpanRecord> = {},
): SpanRecord {
  return {
    traceId: TRACE_ID,
    spanId,
    parentSpanId: 'root',
    name: spanId,
    startUs: BEGUN_US + startMs * 1_000,
    endUs: BEGUN_US + endMs * 1_000,
    attributes: {},
    events: [],
    links: [],
    resource: {},
    ...changes,
  }
}

/** The root span of a startup. */
export function buildRoot(startMs: number, endMs: number, changes: Partial<SpanRecord> = {}): SpanRecord {
  const attributes = { machine_id: 'machine-1', step_number: 0, step_name: 'Startup', phase: 'ready' }
  const { parentSpanId: _, ...root } = buildSpan('root', startMs, endMs, { name: STARTUP_SPAN, attributes, ...changes })
  return root
}

/** The span of a step, `s17` for step 17. */
export function buildStepSpan(
  number: number,
  startMs: number,
  endMs: number,
  changes: Partial<SpanRecord> = {},
): SpanRecord {
  const { event, title, phase } = stepOf(number)
  return buildSpan(`s${number}`, startMs, endMs, {
    name: event,
    ...changes,
    attributes: {
      machine_id: 'machine-1',
      step_number: number,
      step_name: title,
      phase,
      'step.state': changes.error === undefined ? 'done' : 'failed',
      ...changes.attributes,
    },
  })
}

/** A part of a step. */
export function buildPart(
  number: number,
  name: string,
  startMs: number,
  endMs: number,
  changes: Partial<SpanRecord> = {},
): SpanRecord {
  return buildSpan(`s${number}/${name}`, startMs, endMs, {
    parentSpanId: `s${number}`,
    name,
    attributes: { step_number: number, 'step.state': changes.error === undefined ? 'done' : 'failed' },
    ...changes,
  })
}

/** The event of a failed attempt of the model step. */
export function buildAttempt(
  atMs: number,
  attempt: number,
  code: string,
  message: string,
): SpanRecord['events'][number] {
  return {
    name: FAILURE_EVENT,
    atUs: BEGUN_US + atMs * 1_000,
    attributes: {
      step_number: 18,
      error_code: code,
      error_message: message,
      retry_attempt: attempt,
      unit: 'comfy-install-models.service',
      hint: 'Correct the hash in the API.',
    },
  }
}

/** A failure after step 21, linked to the startup. */
export function buildIncident(atMs: number, changes: Partial<SpanRecord> = {}): SpanRecord {
  const { parentSpanId: _, ...span } = buildSpan('incident', atMs - 500, atMs, {
    traceId: 'feed'.repeat(8),
    name: INCIDENT_SPAN,
    attributes: { 'systemd.unit': 'comfyui@gpu1.service', step_number: 19 },
    links: [{ traceId: TRACE_ID, spanId: 'root' }],
    error: 'CM1990: comfyui@gpu1.service was killed by signal 9',
    ...changes,
  })
  return span
}

/** The whole startup of a machine with that many GPUs: 62 s, steps 17 and 18 beside each other. */
export function buildStartup(gpus: number): readonly SpanRecord[] {
  const perGpu = (step: number, startMs: number, endMs: number, stepMs: number): readonly SpanRecord[] =>
    Array.from({ length: gpus }, (_, gpu) =>
      buildPart(step, `${stepOf(step).event} gpu${gpu}`, startMs, endMs + gpu * stepMs),
    )
  const slowestMs = (gpus - 1) * 50
  const clone = buildPart(17, 'clone', 9_000, 14_000, { parentSpanId: 's17/node comfyui-manager' })
  return [
    buildStepSpan(1, 0, 4_000),
    buildStepSpan(2, 4_000, 4_012),
    buildStepSpan(5, 4_015, 4_040),
    buildStepSpan(3, 4_040, 4_050),
    buildStepSpan(4, 4_050, 4_061),
    buildStepSpan(6, 4_061, 4_180),
    buildStepSpan(7, 4_061, 4_070),
    buildStepSpan(8, 4_070, 4_074),
    buildStepSpan(9, 4_074, 4_160),
    buildStepSpan(10, 4_160, 4_180),
    buildStepSpan(11, 4_180, 4_420),
    buildStepSpan(12, 4_425, 4_900),
    buildStepSpan(13, 4_421, 4_425),
    ...perGpu(13, 4_421, 4_425, 0),
    buildStepSpan(14, 4_425, 8_700),
    buildStepSpan(15, 4_425, 4_700),
    buildStepSpan(16, 4_700, 6_100),
    buildPart(16, 'GET /workflows/flux-dev', 4_710, 5_000),
    buildStepSpan(17, 8_701, 21_000),
    buildPart(17, 'node comfyui-manager', 8_900, 19_000),
    clone,
    buildPart(17, 'pip install', 14_000, 18_900, { parentSpanId: 's17/node comfyui-manager' }),
    buildPart(17, 'node kjnodes', 8_900, 12_000),
    buildStepSpan(18, 6_101, 41_000),
    buildPart(18, 'model ae.safetensors', 6_200, 9_000),
    buildPart(18, 'model flux1-dev.safetensors', 6_200, 40_900),
    buildStepSpan(19, 41_001, 57_000 + slowestMs),
    ...perGpu(19, 41_001, 57_000, 50),
    buildStepSpan(20, 57_001 + slowestMs, 58_000 + 2 * slowestMs),
    ...perGpu(20, 57_001 + slowestMs, 58_000 + slowestMs, 50),
    buildStepSpan(21, 58_001 + 2 * slowestMs, 58_100 + 2 * slowestMs),
    buildRoot(0, 58_100 + 2 * slowestMs),
  ]
}

const WRONG = 'ae.safetensors: sha256 is 3f01, expected 9a02'

/** A startup whose models failed for good at the second attempt; nothing after them was started. */
export function buildFailedStartup(): readonly SpanRecord[] {
  const attempts = [
    buildAttempt(20_000, 1, 'CM1801', 'models.example.com: connection refused'),
    buildAttempt(41_000, 2, 'CM1804', WRONG),
  ]
  const error = `CM1804: ${WRONG}`
  return [
    ...buildStartup(2).filter(
      ({ attributes, name }) => Number(attributes['step_number']) < 17 && name !== STARTUP_SPAN,
    ),
    buildStepSpan(17, 8_701, 8_701, { attributes: { 'step.state': 'skipped' } }),
    buildStepSpan(18, 6_101, 41_000, { error, events: attempts }),
    buildPart(18, 'model ae.safetensors', 25_000, 40_900, { error }),
    buildPart(18, 'model flux1-dev.safetensors', 25_000, 30_000),
    buildRoot(0, 41_100, {
      error,
      attributes: { machine_id: 'machine-1', step_number: 0, step_name: 'Startup', phase: 'failed' },
    }),
  ]
}
