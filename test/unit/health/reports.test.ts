import { describe, expect, it } from 'vitest'
import { healthReport, readyReport, statusReport, stepReport } from '../../../src/health/reports.ts'
import { BEGUN_US, buildDownloading, buildFailed, buildReady, buildState, buildStep, seen } from './build-state.ts'

const NOW_US = BEGUN_US + 20_000_000
const NOTHING = { alive: false }

describe('healthReport', () => {
  it('is 200 while the agent lives and starts, works or repairs', () => {
    for (const phase of ['starting', 'ready', 'degraded'] as const) {
      expect(healthReport(seen(buildState({ phase })), NOW_US).status, phase).toBe(200)
    }
  })

  it('is 503 when the startup failed or was stopped', () => {
    expect(healthReport(seen(buildFailed()), NOW_US).status).toBe(503)
    expect(healthReport(seen(buildState({ phase: 'stopped' })), NOW_US).status).toBe(503)
  })

  it('is 503 when the agent has ended, and says so', () => {
    const { status, body } = healthReport(seen(buildReady(), false), NOW_US)
    expect(status).toBe(503)
    expect(body['reason']).toBe('the host agent (pid 100) has ended; its last word was ready')
  })

  it('has the agreed members', () => {
    expect(healthReport(seen(buildState()), NOW_US).body).toEqual({
      healthy: true,
      reason: 'step 17 Custom Nodes Installation is going on',
      phase: 'starting',
      step: 16,
      uptime_ms: 20_000,
      services: {
        'comfy-health.service': { healthy: true, status: 'active', pid: 4711, restarts: 0 },
        'comfy-install-nodes.service': { healthy: false, status: 'activating', pid: 4711, restarts: 0 },
      },
    })
  })
})

describe('readyReport', () => {
  it('is 200 only when the machine is ready and watched', () => {
    expect(readyReport(seen(buildReady())).status).toBe(200)
    expect(readyReport(seen(buildReady(), false)).status).toBe(503)
    expect(readyReport(seen(buildState())).status).toBe(503)
    expect(readyReport(seen(buildReady({ phase: 'degraded' }))).status).toBe(503)
    expect(readyReport(seen(buildFailed(), false)).status).toBe(503)
  })

  it('lists what fails with code, unit and hint', () => {
    expect(readyReport(seen(buildFailed(), false)).body).toEqual({
      ready: false,
      reason: 'step 18 Models Installation failed, CM1804: ae.safetensors: sha256 is 3f01, expected 9a02',
      failing: [
        {
          step: 18,
          code: 'CM1804',
          unit: 'comfy-install-models.service',
          message: 'ae.safetensors: sha256 is 3f01, expected 9a02',
          hint: 'Correct the hash in the API.',
        },
      ],
    })
  })

  it('says that nothing is on record', () => {
    expect(readyReport(NOTHING)).toEqual({
      status: 503,
      body: { ready: false, reason: 'no startup of this machine is on record', failing: [] },
    })
  })

  it('says that a record cannot be read', () => {
    expect(readyReport({ alive: false, trouble: 'it is torn' }).body['reason']).toBe('it is torn')
  })
})

describe('statusReport', () => {
  it('shows 21 steps with state, start, duration and unit', () => {
    const { status, body } = statusReport(seen(buildState()), NOW_US)
    const steps = body['steps'] as Record<string, unknown>[]
    expect(status).toBe(200)
    expect(steps).toHaveLength(21)
    expect(steps[0]).toMatchObject({ number: 1, state: 'done', start: '2026-09-21T14:13:21.000000Z', duration_ms: 500 })
    expect(steps[16]).toMatchObject({ number: 17, state: 'running', duration_ms: 3_000 })
    expect(steps[20]).toMatchObject({ number: 21, state: 'pending', start: null, duration_ms: null, unit: null })
  })

  it('shows how far a running step is, in snake case', () => {
    const steps = statusReport(seen(buildDownloading()), NOW_US).body['steps'] as Record<string, unknown>[]
    expect(steps[17]?.['progress']).toEqual({
      done: 3,
      total: 32,
      bytes: 41.2e9,
      total_bytes: 181e9,
      bytes_per_second: 212e6,
      remaining_ms: 659_000,
      current: ['ae.safetensors'],
      files: [],
    })
    expect(steps[16]).toMatchObject({ state: 'running', progress: null })
  })

  it('says null of what nobody knows yet', () => {
    const step = buildStep(17, 'running', { progress: { done: 1, total: 2, current: [] } })
    const none = { bytes: null, total_bytes: null, bytes_per_second: null, remaining_ms: null }
    expect(stepReport(step, NOW_US)['progress']).toEqual({ done: 1, total: 2, ...none, current: [], files: [] })
  })

  it('lets nothing go on after the last word of an agent that ended', () => {
    const steps = statusReport(seen(buildState(), false), NOW_US).body['steps'] as Record<string, unknown>[]
    expect(steps[16]).toMatchObject({ state: 'running', duration_ms: 1_000 })
  })

  it('names versions, GPUs, workers and evidence in snake case', () => {
    const { body } = statusReport(seen(buildReady()), NOW_US)
    expect(body).toMatchObject({
      machine_id: 'machine-1',
      trace_id: '0af7651916cd43dd8448eb211c80319c',
      agent: { pid: 100, alive: true },
      ready: true,
      startup_duration_ms: 22_000,
      gpus: [{ name: 'gpu0', memory_mib: 24_576 }],
      workers: [{ id: 'machine-1-worker-comfyui-0' }],
      versions: { 'comfy-machine': '0.1.0', 'comfyui.commit': 'c0ffee' },
      evidence: { 'nodes.installed': 4 },
    })
    const names = Object.keys(body).filter((name) => name !== name.toLowerCase())
    expect(names).toEqual([])
  })

  it('is 503 without a record', () => {
    expect(statusReport(NOTHING, NOW_US)).toEqual({
      status: 503,
      body: { phase: 'unknown', ready: false, reason: 'no startup of this machine is on record' },
    })
  })
})
