import { describe, expect, it } from 'vitest'
import { readMeasures, TELEMETRY_FILE } from '../../../src/health/measures.ts'
import { newCounters } from '../../../src/worker/job-counters.ts'
import { filesOf } from '../commands/ports.ts'
import { BEGUN_US, buildReady } from './build-state.ts'

const COUNTERS_FILE = '/run/comfy-machine/redis-worker@gpu0/metrics.json'

describe('readMeasures', () => {
  it('reads the counters of each worker and the standing of the delivery', async () => {
    const counters = newCounters(BEGUN_US)
    const files = filesOf({
      [COUNTERS_FILE]: JSON.stringify(counters),
      [TELEMETRY_FILE]: '{"spoolBytes":1,"lostSpans":2}',
    })
    const { jobs, telemetry } = await readMeasures(files, buildReady())
    expect(jobs).toMatchObject([{ worker: { gpu: 'gpu0' }, counters }])
    expect(telemetry).toEqual({ spoolBytes: 1, lostSpans: 2 })
  })

  it('leaves out what is not there, or is none of ours', async () => {
    expect(await readMeasures(filesOf({}), buildReady())).toEqual({ jobs: [] })
    expect(await readMeasures(filesOf({}), undefined)).toEqual({ jobs: [] })
    for (const text of ['', '{"jobs":', 'null', '7', '{}', '{"jobs":{}}'])
      expect((await readMeasures(filesOf({ [COUNTERS_FILE]: text }), buildReady())).jobs, text).toEqual([])
    expect((await readMeasures(filesOf({ [TELEMETRY_FILE]: 'null' }), undefined)).telemetry).toBeUndefined()
  })
})
