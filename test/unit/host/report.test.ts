import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { openProgress } from '../../../src/host/report.ts'
import { parseProgress } from '../../../src/observe/progress.ts'

let directory: string
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'report-'))
})
afterEach(() => rm(directory, { recursive: true }))

test('the progress is one whole file that the controller understands', async () => {
  const progress = openProgress({ RUNTIME_DIRECTORY: `${directory}:/other`, INVOCATION_ID: 'i' })
  progress.write({ done: 1, total: 2, current: ['a'] })
  progress.write({ done: 2, total: 2, current: [] })
  expect(await readdir(directory)).toEqual(['progress.json'])
  const text = await readFile(join(directory, 'progress.json'), 'utf8')
  expect(parseProgress(text, 'i')).toEqual({ done: 2, total: 2, current: [] })
})

test('without a runtime directory nothing is written', () => {
  expect(() => openProgress({}).write({ done: 1, total: 2, current: [] })).not.toThrow()
})
