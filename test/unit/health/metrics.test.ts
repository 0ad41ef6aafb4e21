import { describe, expect, it } from 'vitest'
import { type Measures, NO_MEASURES } from '../../../src/health/measures.ts'
import { collectFamilies, renderFamilies } from '../../../src/health/metrics.ts'
import type { Sighting } from '../../../src/health/record.ts'
import type { StepState } from '../../../src/observe/state.ts'
import { newCounters } from '../../../src/worker/job-counters.ts'
import { BEGUN_US, buildFailed, buildReady, buildState, buildStep, buildUnit, seen } from './build-state.ts'

const NOW_US = BEGUN_US + 20_000_000

const renderMetrics = (sighting: Sighting, nowUs: number, measures: Measures = NO_MEASURES): string =>
  renderFamilies(collectFamilies(sighting, nowUs, measures))

/** What one worker of two and the delivery of telemetry told. */
function measured(): Measures {
  const [worker] = buildReady().workers
  if (worker === undefined) throw new Error('there is no worker')
  const counters = newCounters(BEGUN_US)
  const buckets = counters.duration.buckets.map(({ le }) => ({ le, count: Number(le >= 0.5) + Number(le >= 60) }))
  return {
    jobs: [
      {
        worker,
        counters: {
          ...counters,
          jobs: { completed: 1, failed: 2, returned: 3 },
          duration: { sum: 4000.5, count: 3, buckets },
          outputBytes: 1234,
          lostSpans: 5,
        },
      },
    ],
    telemetry: {
      ...{ spoolBytes: 10, undeliveredBytes: 20, lostSpans: 40, deliveredSpans: 50 },
      lastDeliveryUs: BEGUN_US + 500_000,
    },
  }
}

describe('the metrics', () => {
  it('says ready, step states, durations and restarts', () => {
    const text = renderMetrics(
      seen(buildReady({ units: [buildUnit('comfyui@gpu0.service', { restarts: 2 })] })),
      NOW_US,
    )
    expect(text).toContain('\ncomfy_machine_ready 1\n')
    expect(text).toContain('comfy_machine_info{version="0.1.0",machine_id="machine-1",gpu_mode="mock"} 1\n')
    expect(text).toContain('comfy_machine_step_state{step="17",event="machine.custom_nodes.install",state="done"} 1\n')
    expect(text).toContain(
      'comfy_machine_step_state{step="17",event="machine.custom_nodes.install",state="failed"} 0\n',
    )
    expect(text).toContain('comfy_machine_step_duration_seconds{step="1",event="machine.container.start"} 0.5\n')
    expect(text).toContain('comfy_machine_unit_active{unit="comfyui@gpu0.service"} 1\n')
    expect(text).toContain('comfy_machine_unit_restarts_total{unit="comfyui@gpu0.service"} 2\n')
    expect(text).toContain('comfy_machine_startup_duration_seconds 22\n')
  })

  it('says failures by step and code', () => {
    const text = renderMetrics(seen(buildFailed(), false), NOW_US)
    expect(text).toContain('comfy_machine_ready 0\n')
    expect(text).toContain('comfy_machine_phase{phase="failed"} 1\n')
    expect(text).toContain('comfy_machine_step_failures_total{step="18",event="machine.models.install"} 1\n')
    expect(text).toContain('comfy_machine_step_retries_total{step="18",event="machine.models.install"} 0\n')
    expect(text).toContain(
      'comfy_machine_failing{step="18",code="CM1804",unit="comfy-install-models.service",type="checksum_mismatch"} 1\n',
    )
    expect(text).not.toContain('comfy_machine_startup_duration_seconds')
  })

  it('says how often a step was tried again: once per failure, but for the failure that it ended with', () => {
    const steps = (['done', 'running', 'failed'] as const).map((state, index) =>
      buildStep(16 + index, state, { attempts: 2 }),
    )
    const text = renderMetrics(seen(buildState({ steps })), NOW_US)
    expect([...text.matchAll(/step_retries_total\{step="(\d+)".*\} (\d+)/g)].map((match) => match.slice(1))).toEqual([
      ['16', '2'],
      ['17', '2'],
      ['18', '1'],
    ])
  })

  it('says what the workers have done, with whole buckets', () => {
    const text = renderMetrics(seen(buildReady()), NOW_US, measured())
    const worker = 'gpu="gpu0",worker="machine-1-worker-comfyui-0"'
    expect(text).toContain(`comfy_machine_jobs_total{${worker},outcome="completed"} 1\n`)
    expect(text).toContain(`comfy_machine_jobs_total{${worker},outcome="failed"} 2\n`)
    expect(text).toContain(`comfy_machine_jobs_total{${worker},outcome="returned"} 3\n`)
    expect(text).toContain('# TYPE comfy_machine_job_duration_seconds histogram\n')
    expect(text).toContain(`comfy_machine_job_duration_seconds_bucket{${worker},le="0.25"} 0\n`)
    expect(text).toContain(`comfy_machine_job_duration_seconds_bucket{${worker},le="0.5"} 1\n`)
    expect(text).toContain(`comfy_machine_job_duration_seconds_bucket{${worker},le="1800"} 2\n`)
    expect(text).toContain(`comfy_machine_job_duration_seconds_bucket{${worker},le="+Inf"} 3\n`)
    expect(text).toContain(`comfy_machine_job_duration_seconds_sum{${worker}} 4000.5\n`)
    expect(text).toContain(`comfy_machine_job_duration_seconds_count{${worker}} 3\n`)
    expect(text).toContain(`comfy_machine_job_output_bytes_total{${worker}} 1234\n`)
    expect(text).toContain(`comfy_machine_job_spans_lost_total{${worker}} 5\n`)
  })

  it('says how far the delivery of telemetry is, and nothing where nobody knows', () => {
    const text = renderMetrics(seen(buildReady()), NOW_US, measured())
    expect(text).toContain('comfy_machine_telemetry_spool_bytes 10\n')
    expect(text).toContain('comfy_machine_telemetry_undelivered_bytes 20\n')
    expect(text).toContain('comfy_machine_telemetry_lost_spans_total 40\n')
    expect(text).toContain('comfy_machine_telemetry_delivered_spans_total 50\n')
    expect(text).toContain('comfy_machine_telemetry_last_delivery_timestamp_seconds 1790000000.5\n')
    const none = { spoolBytes: 0, undeliveredBytes: 0, lostSpans: 0, deliveredSpans: 0, lastDeliveryUs: 0 }
    const fresh = { jobs: [], telemetry: none }
    expect(renderMetrics(seen(buildReady()), NOW_US, fresh)).not.toContain('last_delivery')
    expect(renderMetrics(seen(buildReady()), NOW_US)).not.toMatch(/machine_(telemetry|job)/)
  })

  it('says how far the models are while they come, and what they brought after', () => {
    const withModels = (state: 'running' | 'done', changes: Partial<StepState>): string =>
      renderMetrics(seen(buildState({ steps: [buildStep(18, state, changes)] })), NOW_US)
    const progress = { done: 1, total: 3, bytes: 700, totalBytes: 2100, bytesPerSecond: 35, current: [] }
    const running = withModels('running', { progress })
    expect(running).toContain('comfy_machine_models_wanted 3\n')
    expect(running).toContain('comfy_machine_models_installed 1\n')
    expect(running).toContain('comfy_machine_models_processed_bytes 700\n')
    expect(running).toContain('comfy_machine_models_size_bytes 2100\n')
    expect(running).toContain('comfy_machine_models_bytes_per_second 35\n')
    expect(running).not.toContain('models_downloaded_bytes')
    const attributes = { 'models.wanted': 3, 'models.downloaded': 2, 'models.unchanged': 1 }
    const done = withModels('done', { attributes: { ...attributes, 'models.downloaded_bytes': 2099 } })
    expect(done).toContain('comfy_machine_models_wanted 3\n')
    expect(done).toContain('comfy_machine_models_installed 3\n')
    expect(done).toContain('comfy_machine_models_downloaded_bytes 2099\n')
    expect(done).not.toContain('processed_bytes')
    expect(withModels('running', {})).not.toContain('comfy_machine_models')
  })

  it('is 0 without a record', () => {
    const text = renderMetrics({ alive: false }, NOW_US)
    expect(text).toContain('comfy_machine_ready 0\n')
    expect(text).toContain('comfy_machine_phase{phase="unknown"} 1\n')
  })

  it('declares every family once, before its samples, and repeats no sample', () => {
    const lines = renderMetrics(seen(buildFailed()), NOW_US, measured()).trimEnd().split('\n')
    let family = ''
    const samples = new Set<string>()
    const families = new Set<string>()
    for (const line of lines) {
      const type = /^# TYPE (\S+) (gauge|counter|histogram)$/.exec(line)
      if (type?.[1] !== undefined) {
        family = type[1]
        expect(families.has(family), family).toBe(false)
        families.add(family)
      } else if (!line.startsWith('# HELP ')) {
        const sample = /^([a-z_]+)(\{[^}]*\})? [0-9.e+-]+$/.exec(line)
        expect([family, `${family}_bucket`, `${family}_sum`, `${family}_count`], line).toContain(sample?.[1])
        const key = line.slice(0, line.lastIndexOf(' '))
        expect(samples.has(key), key).toBe(false)
        samples.add(key)
      }
    }
  })

  it('escapes backslash, quote and newline in label values', () => {
    const text = renderMetrics(seen(buildState({ machineId: 'a"b\\c\nd' })), NOW_US)
    expect(text).toContain('machine_id="a\\"b\\\\c\\nd"')
  })
})
