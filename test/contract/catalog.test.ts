import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import { journalLine, MESSAGE_IDS } from '../../src/emit/journal-lines.ts'
import { childOf, foldRun, PROGRESS, runOf } from '../unit/observe/build-later-models.ts'
import { failingAt, foldAll, inPhase, planned, shortfallAt, stepEnded } from '../unit/observe/build-machine.ts'

const root = path.resolve(import.meta.dirname, '../..')
const text = readFileSync(path.join(root, 'units/comfy-machine.catalog'), 'utf8')

interface Entry {
  readonly id: string
  readonly headers: ReadonlyMap<string, string>
  readonly body: string
}

/** The entries of a catalog file, https://systemd.io/CATALOG/. */
const entries: readonly Entry[] = text
  .split(/^-- /m)
  .slice(1)
  .map((part) => {
    const [head = '', ...body] = part.split('\n\n')
    const [id = '', ...headers] = head.split('\n')
    const pairs = headers.map((line): [string, string] => [line.split(': ')[0] ?? '', line.split(': ')[1] ?? ''])
    return { id, headers: new Map(pairs), body: body.join('\n\n') }
  })

/** One line of each kind that the controller writes. */
const lines = [
  journalLine(planned(), stepEnded({ state: 'done' })),
  journalLine(planned(), stepEnded({ state: 'skipped', unit: 'comfy-install-models.service' })),
  journalLine(planned(), { kind: 'attempt-failed', failing: failingAt(), startUs: 0, afterReady: false }),
  journalLine(planned(), {
    kind: 'instance-ended',
    step: stepEnded().step,
    instance: { gpu: 'gpu0', unit: 'comfyui@gpu0.service', state: 'done' },
  }),
  journalLine(planned(), { kind: 'shortfall', shortfall: shortfallAt() }),
  journalLine(inPhase('ready'), { kind: 'recovered', failing: failingAt(), atUs: 1 }),
  ...(['ready', 'failed', 'degraded', 'stopped'] as const).map((phase) =>
    journalLine(inPhase(phase), { kind: 'phase-changed', phase }),
  ),
  ...foldAll(planned(), [
    foldRun(runOf.running(), [], PROGRESS),
    foldRun(runOf.done(), [childOf('wan', 'done')]),
  ]).happenings.map((happening) => journalLine(planned(), happening)),
].filter((line) => line !== undefined)

test('every MESSAGE_ID has one entry, and every entry a MESSAGE_ID', () => {
  expect(entries.map(({ id }) => id).sort()).toEqual(Object.values(MESSAGE_IDS).sort())
})

test('a MESSAGE_ID is written nowhere else', () => {
  const files = readdirSync(path.join(root, 'src'), { recursive: true, encoding: 'utf8' })
  const others = files.filter((file) => file.endsWith('.ts') && file !== 'emit/journal-lines.ts')
  const found = others.filter((file) => /messageId: *['"]/.test(readFileSync(path.join(root, 'src', file), 'utf8')))
  expect(found).toEqual([])
})

test('each kind of line is written with its own MESSAGE_ID', () => {
  expect(lines.map(({ messageId }) => messageId).sort()).toEqual(Object.values(MESSAGE_IDS).sort())
})

describe.each(entries)('$id', ({ id, headers, body }) => {
  test('is of the format that journalctl reads', () => {
    expect(id).toMatch(/^[0-9a-f]{32}$/)
    expect([...headers.keys()]).toEqual(['Subject', 'Defined-By', 'Documentation'])
    expect(headers.get('Defined-By')).toBe('comfy-machine')
    expect(body.trim()).not.toBe('')
  })

  test('names only fields that its line has', () => {
    const line = lines.find(({ messageId }) => messageId === id)
    const names = [...`${headers.get('Subject')}${body}`.matchAll(/@([A-Z_]+)@/g)].map((match) => match[1] ?? '')
    expect(names.filter((name) => line?.fields?.[name] === undefined)).toEqual([])
  })
})

test('a failure is explained by step, code, type, unit and what to do', () => {
  const body = entries.find(({ id }) => id === MESSAGE_IDS.stepFailed)?.body ?? ''
  for (const name of ['COMFY_STEP', 'COMFY_ERROR_CODE', 'COMFY_ERROR_TYPE', 'COMFY_UNIT', 'COMFY_HINT'])
    expect(body).toContain(`@${name}@`)
  expect(body).toContain('comfy-machine explain @COMFY_ERROR_CODE@')
})
