import { describe, expect, it } from 'vitest'
import { endOfHistory, foldMessage, type PromptState, queuedPrompt } from '../../../src/worker/prompt-state.ts'
import { message } from './fakes.ts'

const fold = (...messages: readonly ReturnType<typeof message>[]): PromptState =>
  messages.reduce(foldMessage, queuedPrompt('p1'))

describe('messages of a prompt', () => {
  it('follow it from node to node to its end', () => {
    const atNode = fold(message('execution_start'), message('executing', { node: '3' }))
    expect(atNode.progress).toEqual({ value: 0, max: 1, node: '3', prompt_id: 'p1' })
    const within = foldMessage(atNode, message('progress', { node: '3', value: 4, max: 20 }))
    expect(within.progress).toEqual({ value: 4, max: 20, node: '3', prompt_id: 'p1' })
    const succeeded = foldMessage(within, message('execution_success'))
    expect([succeeded.hasSucceeded, succeeded.end]).toEqual([true, undefined])
    const done = foldMessage(succeeded, message('executing', { node: null }))
    expect(done.end).toEqual({ kind: 'done' })
    expect(done.progress).toEqual({ value: 20, max: 20, node: null, prompt_id: 'p1' })
  })

  it('of progress_state count the node that runs, by the id the user sees', () => {
    const nodes = {
      '1': { value: 1, max: 1, state: 'finished', display_node_id: '1' },
      '5.0.2': { value: 2, max: 8, state: 'running', display_node_id: '5' },
    }
    expect(fold(message('progress_state', { nodes })).progress).toMatchObject({ value: 2, max: 8, node: '5' })
  })

  it('that repeat what is known, or belong to another prompt, change nothing', () => {
    const state = fold(message('progress', { node: '3', value: 4, max: 20 }))
    expect(foldMessage(state, message('executing', { node: '3' }))).toBe(state)
    expect(foldMessage(state, message('progress', { node: '3', value: 4, max: 20 }))).toBe(state)
    expect(foldMessage(state, message('executing', { prompt_id: 'p2', node: null }))).toBe(state)
    expect(foldMessage(state, { type: 'status', data: { status: {} } })).toBe(state)
  })

  it('of an error name the node and the exception, and nothing after it counts', () => {
    const failed = fold(
      message('execution_error', {
        node_id: '3',
        node_type: 'KSampler',
        exception_type: 'torch.OutOfMemoryError',
        exception_message: 'Allocation on device\n',
        traceback: ['  File "a.py"\n', '    x()\n'],
      }),
      message('executing', { node: null }),
    )
    expect(failed.end).toEqual({
      kind: 'error',
      message: 'KSampler (node 3): torch.OutOfMemoryError: Allocation on device',
      traceback: '  File "a.py"\n    x()\n',
    })
    expect(fold(message('execution_interrupted', { node_id: '3' })).end).toEqual({ kind: 'interrupted' })
  })
})

describe('the end that a history entry tells', () => {
  it('is read from its status', () => {
    expect(endOfHistory({ outputs: {} })).toEqual({ kind: 'done' })
    expect(endOfHistory({ status: { status_str: 'success', messages: [] } })).toEqual({ kind: 'done' })
    const interrupted = {
      status_str: 'error',
      messages: [
        ['execution_start', {}],
        ['execution_interrupted', {}],
      ],
    }
    expect(endOfHistory({ status: interrupted })).toEqual({ kind: 'interrupted' })
    const error = ['execution_error', { node_id: '1', node_type: 'A', exception_message: 'no' }]
    expect(endOfHistory({ status: { status_str: 'error', messages: [error] } })).toMatchObject({
      kind: 'error',
      message: 'A (node 1): no',
    })
    expect(endOfHistory({ status: { status_str: 'error' } }).kind).toBe('error')
  })
})
