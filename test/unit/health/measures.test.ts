import { describe, expect, it } from 'vitest'
import { readMeasures } from '../../../src/health/measures.ts'
import { newCounters } from '../../../src/worker/job-counters.ts'
import { filesOf } from '../commands/ports.ts'
import { BEGUN_US, buildReady } from './build-state.ts'

const COUNTERS_FILE = '/run/comfy-machine/redis-worker@gpu0/metrics.json'

const NO_SPOOL = { spoolBytes: 0, undeliveredBytes: 0, deliveredSpans: 0, lostSpans: 0, lastDeliveryUs: 0 }

describe('readMeasures', () => {
  it('reads the counters of each worker and what the spool holds', async () => {
    const counters = newCounters(BEGUN_US)
    const spool = '/var/lib/comfy-machine/telemetry'
    const texts = {
      [COUNTERS_FILE]: JSON.stringify(counters),
      [`${spool}/worker-gpu0`]: '',
      [`${spool}/worker-gpu0/00000001.ndjson`]: 'ten bytes\n',
      [`${spool}/worker-gpu0/lost`]: '3',
    }
    const files = filesOf(texts)
    const { jobs, telemetry } = await readMeasures(
      { ...files, lstat: async () => ({ kind: 'directory', bytes: 0, mode: 0o755, uid: 0, mtimeMs: 1 }) },
      buildReady(),
    )
    expect(jobs).toMatchObject([{ worker: { gpu: 'gpu0' }, counters }])
    expect(telemetry).toEqual({ ...NO_SPOOL, spoolBytes: 10, undeliveredBytes: 10, lostSpans: 3 })
  })

  it('leaves out counters that are not there, or are none of ours', async () => {
    const nothing = { jobs: [], telemetry: NO_SPOOL }
    expect(await readMeasures(filesOf({}), buildReady())).toEqual(nothing)
    expect(await readMeasures(filesOf({}), undefined)).toEqual(nothing)
    for (const text of ['', '{"jobs":', 'null', '7', '{}', '{"jobs":{}}'])
      expect((await readMeasures(filesOf({ [COUNTERS_FILE]: text }), buildReady())).jobs, text).toEqual([])
  })
})
