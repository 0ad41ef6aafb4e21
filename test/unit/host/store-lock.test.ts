import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { StoreHolder, StoreLock } from '../../../src/host/model-ports.ts'
import { parseHolder, takeLock } from '../../../src/host/store-lock.ts'

let folder = ''
let path = ''
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lock-'))
  path = join(folder, 'lock')
})
afterAll(() => rm(folder, { recursive: true }))

async function taken(command = 'me'): Promise<StoreLock> {
  const lock = await takeLock(path, command)
  if (!('release' in lock)) throw new Error(`held by ${lock.pid}`)
  return lock
}

/** Another process that has the lock. */
async function holder() {
  const module = new URL('../../../src/host/store-lock.ts', import.meta.url).pathname
  const program = `
    const { takeLock } = await import(${JSON.stringify(module)})
    const lock = await takeLock(${JSON.stringify(path)}, 'the other')
    process.stdout.write('release' in lock ? 'taken' : 'held')
    process.stdin.on('data', () => lock.release().then(() => process.stdout.write('released')))`
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: ['pipe', 'pipe', 'inherit'] })
  expect(String(await once(child.stdout, 'data'))).toBe('taken')
  return child
}

describe('the lock of a store', () => {
  test('is one process’s, and says whose', async () => {
    const lock = await taken('comfy-machine install models')
    expect(JSON.parse(await readFile(path, 'utf8'))).toEqual({
      pid: process.pid,
      command: 'comfy-machine install models',
    })
    const other = (await takeLock(path, 'another')) as StoreHolder
    expect(other).toMatchObject({ pid: process.pid, command: 'comfy-machine install models' })
    await lock.release()
    await (await taken('a shorter one')).release()
    expect(JSON.parse(await readFile(path, 'utf8'))).toMatchObject({ command: 'a shorter one' })
  })

  test('shows progress by the time of change of its file', async () => {
    const lock = await taken()
    await utimes(path, 1, 1)
    expect(((await takeLock(path, 'another')) as StoreHolder).aliveMs).toBe(1_000)
    await lock.touch()
    expect((await stat(path)).mtimeMs).toBeGreaterThan(1_000)
    await lock.release()
  })

  test('is free when its holder releases it', async () => {
    const child = await holder()
    expect(await takeLock(path, 'me')).toMatchObject({ pid: child.pid, command: 'the other' })
    child.stdin.write('x')
    await once(child.stdout, 'data')
    await (await taken()).release()
    child.kill('SIGKILL')
    await once(child, 'exit')
  })

  test('is free when its holder is killed', async () => {
    const child = await holder()
    child.kill('SIGKILL')
    await once(child, 'exit')
    await (await taken()).release()
  })

  test('of a program that this process runs outlives nothing', async () => {
    const lock = await taken()
    const child = spawn('sleep', ['60'], { stdio: 'ignore' })
    await lock.release()
    await (await taken()).release()
    child.kill('SIGKILL')
    await once(child, 'exit')
  })

  test('is not opened where a link lies in its place', async () => {
    const link = join(folder, 'link')
    await writeFile(join(folder, 'target'), 'kept')
    await symlink('target', link)
    await expect(takeLock(link, 'me')).rejects.toMatchObject({ code: 'ELOOP' })
    expect(await readFile(join(folder, 'target'), 'utf8')).toBe('kept')
  })
})

test.each([
  ['', { pid: 0, command: '' }],
  ['{"pid":7,"comm', { pid: 0, command: '' }],
  ['null', { pid: 0, command: '' }],
  ['{"pid":"7","command":["x"]}', { pid: 0, command: '' }],
  ['{"pid":-7,"command":"a\\u001b[2Jb"}', { pid: 0, command: 'a [2Jb' }],
  [JSON.stringify({ pid: 7, command: 'x'.repeat(999) }), { pid: 7, command: 'x'.repeat(200) }],
])('a holder is read out of %j', (text, expected) => {
  expect(parseHolder(text)).toEqual(expected)
})
