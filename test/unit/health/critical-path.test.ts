import { describe, expect, test } from 'vitest'
import { criticalSpans, criticalSteps } from '../../../src/health/critical-path.ts'
import { buildTree, findStartups, stepNumber, type TraceNode } from '../../../src/health/trace-model.ts'
import type { SpanRecord } from '../../../src/host/ports.ts'
import { buildPart, buildRoot, buildStartup, buildStepSpan } from './build-trace.ts'

function treeOf(records: readonly SpanRecord[]): TraceNode {
  const [trace] = findStartups(records)
  if (trace === undefined) throw new Error('no startup')
  return buildTree(trace)
}
const numbers = (tree: TraceNode) => criticalSteps(tree).map(({ span }) => stepNumber(span))

describe('criticalSteps', () => {
  test('is the chain of steps that waited for each other, without the one that encloses others', () => {
    expect(numbers(treeOf(buildStartup(2)))).toEqual([1, 2, 5, 3, 4, 7, 8, 9, 10, 11, 13, 15, 16, 18, 19, 20, 21])
  })

  test('goes through steps that stand within the enclosing one, and past skipped ones', () => {
    const skipped = { attributes: { 'step.state': 'skipped' } }
    const tree = treeOf([
      buildRoot(0, 100),
      buildStepSpan(6, 0, 50),
      buildStepSpan(10, 10, 50, { parentSpanId: 's6' }),
      buildStepSpan(17, 50, 51, skipped),
      buildStepSpan(18, 50, 100),
    ])
    expect(numbers(tree)).toEqual([10, 18])
  })

  test('runs along the GPU that was ready last, whose worker does not wait for the other ComfyUI', () => {
    const name = { 19: 'machine.comfyui.server.start', 20: 'machine.worker.connection.start' }
    const tree = treeOf([
      buildRoot(0, 1_000),
      buildStepSpan(17, 0, 100),
      buildStepSpan(19, 100, 700),
      buildPart(19, `${name[19]} gpu0`, 100, 600),
      buildPart(19, `${name[19]} gpu1`, 100, 700),
      buildPart(19, `${name[19]} gpu2`, 100, 605),
      buildStepSpan(20, 610, 990),
      buildPart(20, `${name[20]} gpu0`, 610, 990),
      buildPart(20, `${name[20]} gpu1`, 700, 900),
      buildStepSpan(21, 990, 1_000),
    ])
    expect(numbers(tree)).toEqual([17, 19, 20, 21])
    expect([...criticalSpans(tree)].filter((id) => id.includes('gpu'))).toEqual([
      `s19/${name[19]} gpu0`,
      `s20/${name[20]} gpu0`,
    ])
  })

  test('allows for clock noise between two steps, and for no more', () => {
    const overlapping = (ms: number) => [buildStepSpan(16, 0, 50 + ms), buildStepSpan(18, 50, 100), buildRoot(0, 100)]
    expect(numbers(treeOf(overlapping(2)))).toEqual([16, 18])
    expect(numbers(treeOf(overlapping(3)))).toEqual([18])
  })
})

describe('criticalSpans', () => {
  test('marks the GPU that was ready last and the slowest part at each depth, on the path only', () => {
    const ids = criticalSpans(treeOf(buildStartup(3)))
    const perGpu = [...ids].filter((id) => id.includes('gpu'))
    expect(perGpu.map((id) => id.replace(/machine.* /, ''))).toEqual(['s13/gpu2', 's19/gpu2', 's20/gpu2'])
    expect(ids.has('s18/model flux1-dev.safetensors')).toBe(true)
    expect(ids.has('s17/node comfyui-manager')).toBe(false)

    const nested = treeOf([
      buildRoot(0, 100),
      buildStepSpan(17, 0, 100),
      buildPart(17, 'a', 0, 90),
      buildPart(17, 'b', 0, 80),
      buildPart(17, 'clone', 0, 10, { parentSpanId: 's17/a' }),
      buildPart(17, 'install', 10, 90, { parentSpanId: 's17/a' }),
    ])
    expect([...criticalSpans(nested)]).toEqual(['s17', 's17/a', 's17/install'])
  })
})
