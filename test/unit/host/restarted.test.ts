import { describe, expect, test } from 'vitest'
import type { FileStat } from '../../../src/host/ports.ts'
import { wasRestarted } from '../../../src/host/restarted.ts'
import { memoryFiles } from '../emit/memory-files.ts'

const NOW_MS = 1_790_000_000_000
const MARK = '/run/comfy-machine/revived'

async function ask(markAgeMs: number | undefined, restarts: string) {
  const files = memoryFiles(markAgeMs === undefined ? {} : { [MARK]: '' })
  const stat: FileStat = { kind: 'file', bytes: 0, mode: 0o644, uid: 0, mtimeMs: NOW_MS - (markAgeMs ?? 0) }
  const marked = { ...files, lstat: async (path: string) => (files.texts.has(path) ? stat : undefined) }
  const exec = {
    run: async () => ({ code: 0, signal: null, timedOut: false, stdout: `${restarts}\n`, stderr: '' }),
  }
  const clock = { nowUs: () => NOW_MS * 1000, sleep: async () => undefined }
  return { was: await wasRestarted(marked, exec, clock), isMarked: files.texts.has(MARK) }
}

describe('a controller', () => {
  test('was restarted when it was revived just now, or by systemd', async () => {
    expect(await ask(200, '0')).toEqual({ was: true, isMarked: false })
    expect(await ask(undefined, '3')).toEqual({ was: true, isMarked: false })
  })

  test('was asked for otherwise, also when a mark was left long ago', async () => {
    expect(await ask(undefined, '0')).toEqual({ was: false, isMarked: false })
    expect(await ask(61_000, '0')).toEqual({ was: false, isMarked: false })
    expect(await ask(undefined, '')).toEqual({ was: false, isMarked: false })
  })
})
