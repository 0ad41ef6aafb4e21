import { describe, expect, it } from 'vitest'
import { parseJob, summarizeRefusal, toJobData } from '../../../src/worker/job.ts'

describe('job data', () => {
  it('is a workflow in API format and what goes with it', () => {
    const workflow = { '1': { class_type: 'A', inputs: {} } }
    expect(parseJob({ workflow, extra_data: { api_key: 'x' } })).toEqual({ workflow, extraData: { api_key: 'x' } })
    expect(parseJob({ workflow })).toEqual({ workflow, extraData: undefined })
  })

  it('of a producer within a trace carries the context on as it came', () => {
    const context = { traceId: 'a'.repeat(32), spanId: 'b'.repeat(16), flags: '01', traceState: 'v=1' }
    const traceparent = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`
    expect(toJobData({}, context)).toEqual({ workflow: {}, traceparent, tracestate: 'v=1' })
    expect(toJobData({}, undefined)).toEqual({ workflow: {} })
  })

  it.each([
    [undefined, 'no data'],
    [{}, 'no "workflow"'],
    [{ workflow: [] }, 'API format'],
    [{ workflow: {} }, 'no nodes'],
    [{ workflow: { nodes: [], links: [] } }, 'editor format'],
    [{ workflow: { '1': null } }, 'node 1 is not an object'],
    [{ workflow: { '4': { inputs: {} } } }, 'node 4 has no "class_type"'],
    [{ workflow: { '1': { class_type: 'A' } }, extra_data: 'x' }, '"extra_data"'],
  ])('%j is refused in one sentence', (data, words) => {
    expect(parseJob(data)).toEqual(expect.stringContaining(words))
  })
})

describe('a refusal of ComfyUI', () => {
  it('is summed up with the complaints of every node', () => {
    const body = {
      error: { type: 'prompt_outputs_failed_validation', message: 'Prompt outputs failed validation', details: '' },
      node_errors: {
        '4': {
          class_type: 'CheckpointLoaderSimple',
          errors: [{ type: 'value_not_in_list', message: 'Value not in list', details: "ckpt_name: 'x' not in []" }],
        },
      },
    }
    expect(summarizeRefusal(400, body)).toBe(
      'ComfyUI refused the workflow: Prompt outputs failed validation; ' +
        "node 4 (CheckpointLoaderSimple): Value not in list (ckpt_name: 'x' not in [])",
    )
    expect(summarizeRefusal(413, 'too large')).toBe('ComfyUI refused the workflow (HTTP 413)')
  })
})
