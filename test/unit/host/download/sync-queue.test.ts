import { closeSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { SyncQueue } from '../../../../src/host/download/sync-queue.ts'
import { scratch } from './download-fixture.ts'

function openQueue(): SyncQueue {
  const queue = new SyncQueue()
  onTestFinished(() => queue.close())
  return queue
}

/** So many files that are open and written to. */
function writeFiles(count: number): readonly { readonly fd: number; readonly path: string }[] {
  const folder = scratch()
  return Array.from({ length: count }, (_, index) => {
    const path = join(folder, `file ${index}`)
    const fd = openSync(path, 'w')
    writeSync(fd, 'x')
    return { fd, path }
  })
}

describe('SyncQueue', () => {
  test('ends for one file, and for many that come at once', async () => {
    const queue = openQueue()
    const files = writeFiles(20)
    await Promise.all(files.map(({ fd, path }) => queue.sync(fd, path)))
    for (const { fd } of files) closeSync(fd)
  })

  test.each([
    ['is not there', '/nowhere/file'],
    ['has a line break', '/tmp/a\nb'],
  ])('syncs each by itself where a path %s', async (_, path) => {
    const queue = openQueue()
    const files = writeFiles(8)
    await Promise.all(files.map(({ fd }) => queue.sync(fd, path)))
    for (const { fd } of files) closeSync(fd)
  })

  test('fails for the file that cannot be synced, and for no other', async () => {
    const queue = openQueue()
    const files = writeFiles(8)
    closeSync(files[3]?.fd ?? -1)
    const ends = await Promise.allSettled(files.map(({ fd }) => queue.sync(fd, '/nowhere/file')))
    expect(ends.map(({ status }) => status === 'rejected')).toEqual(files.map((_, index) => index === 3))
    for (const [index, { fd }] of files.entries()) if (index !== 3) closeSync(fd)
  })

  test('goes on when it has been closed', async () => {
    const queue = openQueue()
    const files = writeFiles(8)
    const syncAll = () => Promise.all(files.map(({ fd, path }) => queue.sync(fd, path)))
    await syncAll()
    queue.close()
    await syncAll()
    for (const { fd } of files) closeSync(fd)
  })
})
