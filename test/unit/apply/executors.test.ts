import { describe, expect, test } from 'vitest'
import { hostExecutors } from '../../../src/apply/executors.ts'
import type { FileStat, Files, Manager } from '../../../src/host/ports.ts'

const directory = (mode: number): FileStat => ({ kind: 'directory', bytes: 0, mode, uid: 990, mtimeMs: 0 })

describe('make-directory', () => {
  const make = async (there: FileStat): Promise<readonly string[]> => {
    const calls: string[] = []
    const files: Pick<Files, 'makeDirectory' | 'lstat' | 'chown'> = {
      makeDirectory: async (path, mode) => void calls.push(`make ${path} ${mode?.toString(8)}`),
      lstat: async () => there,
      chown: async (path, owner) => void calls.push(`chown ${path} ${owner}`),
    }
    const executors = hostExecutors(files as Files, {} as Manager)
    await executors['make-directory']({ kind: 'make-directory', path: '/m', owner: 'a:b', mode: 0o775 })
    return calls
  }

  test('leaves the mode of a directory that has it', async () => {
    expect(await make(directory(0o775))).toEqual(['make /m 775', 'chown /m a:b'])
    expect(await make(directory(0o2775))).toEqual(['make /m 775', 'chown /m a:b'])
  })

  test('sets another mode only while the directory is root’s', async () => {
    expect(await make(directory(0o755))).toEqual(['make /m 775', 'chown /m root', 'make /m 775', 'chown /m a:b'])
  })

  test('never sets the mode of what a link points at', async () => {
    const link: FileStat = { ...directory(0o777), kind: 'symlink' }
    expect(await make(link)).toEqual(['make /m 775', 'chown /m a:b'])
  })
})
