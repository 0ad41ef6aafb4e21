import { describe, expect, it } from 'vitest'
import { renderMetrics } from '../../../src/health/metrics.ts'
import { BEGUN_US, buildFailed, buildReady, buildState, buildUnit, seen } from './build-state.ts'

const NOW_US = BEGUN_US + 20_000_000

describe('renderMetrics', () => {
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
    expect(text).toContain(
      'comfy_machine_failing{step="18",code="CM1804",unit="comfy-install-models.service",type="checksum_mismatch"} 1\n',
    )
    expect(text).not.toContain('comfy_machine_startup_duration_seconds')
  })

  it('is 0 without a record', () => {
    const text = renderMetrics({ alive: false }, NOW_US)
    expect(text).toContain('comfy_machine_ready 0\n')
    expect(text).toContain('comfy_machine_phase{phase="unknown"} 1\n')
  })

  it('declares every family once, before its samples, and repeats no sample', () => {
    const lines = renderMetrics(seen(buildFailed()), NOW_US).trimEnd().split('\n')
    let family = ''
    const samples = new Set<string>()
    const families = new Set<string>()
    for (const line of lines) {
      const type = /^# TYPE (\S+) (gauge|counter)$/.exec(line)
      if (type?.[1] !== undefined) {
        family = type[1]
        expect(families.has(family), family).toBe(false)
        families.add(family)
      } else if (!line.startsWith('# HELP ')) {
        const sample = /^([a-z_]+)(\{[^}]*\})? [0-9.e+-]+$/.exec(line)
        expect(sample?.[1], line).toBe(family)
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
