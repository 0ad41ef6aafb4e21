import { expect, test } from 'vitest'
import { openModelsHost, whenStopped } from '../../../src/commands/models-host.ts'
import type { Terminal } from '../../../src/host/ports.ts'
import { memoryContext } from '../install/context.ts'
import { keepingTerminal } from './ports.ts'

const progress = { done: 0, total: 1, bytes: 5e6, totalBytes: 10e6, current: [] }

function open(changes: Partial<Terminal> = {}, isQuiet = false) {
  const terminal = keepingTerminal(changes)
  return { ...openModelsHost(memoryContext().plan, terminal, { isQuiet }), terminal }
}

test('on a terminal there is one line of progress, and it makes way for what is said', () => {
  const { context, terminal } = open({ isTTY: true })
  context.host.progress.write(progress)
  context.host.journal.write({ message: 'model a is downloaded', priority: 'info' })
  expect(terminal.out).toEqual(['\r\u001b[K0/1 models, 5.0/10.0 MB', '\r\u001b[K', 'model a is downloaded\n'])
})

test('elsewhere what is said is lines, and progress is rare', () => {
  const { context, terminal } = open()
  context.host.progress.write(progress)
  context.host.journal.write({ message: 'model a is downloaded', priority: 'info' })
  context.host.journal.write({ message: 'cut; trying again', priority: 'warning' })
  context.host.journal.write({ message: 'detail', priority: 'debug' })
  expect([terminal.out, terminal.err]).toEqual([['model a is downloaded\n'], ['cut; trying again\n']])
})

test('beside JSON only what is wrong is said', () => {
  const { context, terminal } = open({ isTTY: true }, true)
  context.host.progress.write(progress)
  context.host.journal.write({ message: 'model a is downloaded', priority: 'info' })
  context.host.journal.write({ message: 'cut; trying again', priority: 'warning' })
  expect([terminal.out, terminal.err]).toEqual([[], ['cut; trying again\n']])
})

test('what a person stops ends with 1 and says what becomes of it; any other failure is thrown', async () => {
  const { context, end, terminal } = open()
  const failing = async (): Promise<number> => {
    throw new Error('broken')
  }
  await expect(whenStopped({ context, end }, terminal, 'It goes on.', failing)).rejects.toThrow('broken')
  const stopped = { ...context, host: { ...context.host, signal: AbortSignal.abort() } }
  expect(await whenStopped({ context: stopped, end }, terminal, 'It goes on.', failing)).toBe(1)
  expect(terminal.err).toEqual(['stopped. It goes on.\n'])
})
